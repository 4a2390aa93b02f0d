"""Questions of the sample data: true of their scenes, and read as the real."""

import json

import numpy as np
import pytest

from input_pipeline.annotations.vcr import read_vcr, read_vcr_metadata
from input_pipeline.annotations.vqa import read_vqa
from tests.support.tiny_data import build
from tests.tools.test_sample_captions import ARTISTS
from tools.sample_data import facts as facts_lib
from tools.sample_data.captions import PLACES_EN, RELATIONS_EN
from tools.sample_data.facts import Group
from tools.sample_data.question_kinds import vcr_questions, vqa_questions
from tools.sample_data.scenes import make_scenes, scene_rng

SCENES = 60
DIRECTION = {words[0]: name for name, words in RELATIONS_EN.items()}
CELL = {words[0]: cell for cell, words in PLACES_EN.items()}
NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5}


@pytest.fixture(scope="module", params=ARTISTS)
def asked(request):
  """(scene, VCR's question) of many scenes, and the nouns."""
  artist = ARTISTS[request.param]
  found = []
  for index, scene in enumerate(make_scenes(artist, "train", SCENES)):
    rng = scene_rng(0, "train", index, 3)
    found += [(scene, q) for q in vcr_questions(scene, artist.nouns, rng)]
  return found, artist.nouns


def text(words):
  return " ".join(str(w[0]) if isinstance(w, list) else w for w in words)


class Truth:
  """What is true of a scene, from its boxes alone."""

  def __init__(self, scene):
    self.scene = scene

  def box(self, number):
    return np.array([self.scene.objects[number].box])

  def holds(self, sentence):
    """Whether "0 is to the left of 1", "1 is at the top", ... is true."""
    thing, _, rest = sentence.partition(" is ")
    number = thing.removeprefix("the ")
    if not number.isdecimal():  # named by its class: it is not there
      return False
    group = Group(0, self.box(int(number)))
    if rest in CELL:
      return facts_lib.place(group, self.scene.facts) == CELL[rest]
    direction, _, other = rest.rpartition(" the ")
    other = Group(1, self.box(int(other)))
    return facts_lib.relation(group, other) == DIRECTION[direction]


def right(truth, question, kind):
  """Numbers of the choices that are true."""
  asks = text(question["question"]).lower()
  choices = [
    text(c).removesuffix(" .").lower() for c in question[f"{kind}_choices"]
  ]
  if asks.startswith("how many"):
    count = len(truth.scene.objects)
    if kind == "answer":
      return [
        i for i, c in enumerate(choices) if NUMBERS[c.split()[2]] == count
      ]
    listed = [set(c.replace(",", "").split()) for c in choices]
    whole = {str(i) for i in range(count)}
    return [i for i, words in enumerate(listed) if whole <= words]
  if asks.startswith("where"):
    thing = asks.removeprefix("where is ").removesuffix(" ?")
    if kind == "answer":
      choices = [c.replace("it", thing, 1) for c in choices]
    return [i for i, c in enumerate(choices) if truth.holds(c)]
  if asks.startswith("what is"):
    if kind == "rationale":
      return [
        i
        for i, c in enumerate(choices)
        if all(truth.holds(part) for part in c.split(" and "))
      ]
    rest = asks.removeprefix("what is ").removesuffix(" ?")
    return [i for i, c in enumerate(choices) if truth.holds(f"{c} is {rest}")]
  assert asks == "which thing is the biggest ?"
  if kind == "rationale":
    return [i for i, c in enumerate(choices) if c.split()[2].isdecimal()]
  areas = [
    (b[2] - b[0]) * (b[3] - b[1]) for b in (o.box for o in truth.scene.objects)
  ]
  return [i for i, c in enumerate(choices) if c == f"the {np.argmax(areas)}"]


def test_one_choice_is_true_and_it_is_the_label(asked):
  found, _ = asked
  assert len(found) > 2 * SCENES
  kinds = set()
  for scene, question in found:
    kinds.add(question["question"][0])
    for kind in ("answer", "rationale"):
      texts = [text(c) for c in question[f"{kind}_choices"]]
      assert len(set(texts)) == 4, texts
      true = right(Truth(scene), question, kind)
      assert true == [question[f"{kind}_label"]], (question, kind)
  assert kinds == {"How", "Where", "What", "Which"}


def test_labels_are_anywhere(asked):
  found, _ = asked
  for kind in ("answer", "rationale"):
    counts = np.bincount([q[f"{kind}_label"] for _, q in found], minlength=4)
    assert counts.min() > len(found) / 8


def test_objects_are_named_by_their_class(asked):
  found, nouns = asked
  for scene, question in found:
    names = [nouns[o.class_index].en[0][0] for o in scene.objects]
    assert question["objects"] == names


def test_answers_of_ten_people():
  artist = ARTISTS["objects"]
  for index, scene in enumerate(make_scenes(artist, "val", 30)):
    names = [artist.nouns[o.class_index].en[0][0] for o in scene.objects]
    rng = scene_rng(0, "val", index, 4)
    found = vqa_questions(scene, artist.nouns, rng)
    assert len({q["question"] for q, _ in found}) == len(found) >= 4
    for question, annotation in found:
      said = [a["answer"] for a in annotation["answers"]]
      best = annotation["multiple_choice_answer"]
      assert len(said) == 10 and said.count(best) >= 9
      words = question["question"].removesuffix("?").lower().split()
      if annotation["question_type"] == "is there":
        there = any(f" {name.lower()} " in " ".join(words) for name in names)
        assert best == ("yes" if there else "no")
      elif annotation["question_type"] == "how many":
        thing = " ".join(words[2:-2])
        plural = {
          artist.nouns[o.class_index].en[0][1].lower(): o.class_index
          for o in scene.objects
        }
        wanted = (
          len(names)
          if thing == "things"
          else [o.class_index for o in scene.objects].count(plural[thing])
        )
        assert best == str(wanted)


def test_the_readers_of_the_real_files_read_them(sample):
  for split in ("train", "val", "test"):
    questions = list(read_vcr(sample / "vcr" / f"{split}.jsonl"))
    assert len(questions) > 3
    assert all((q.answer_label is None) == (split == "test") for q in questions)
    metadata = read_vcr_metadata(sample / "images" / questions[0].metadata_file)
    assert metadata.names == questions[0].objects
    found = list(read_vqa(sample / "vqa", split))
    assert all((q.answers is None) == (split == "test") for q in found)


def test_they_become_batches(sample):
  shared = {
    "store": sample / "regions",
    "split": "train",
    "vocab": sample / "vocab_en.txt",
    "seed": 0,
    "max_regions": 8,
    "max_text_length": 40,
  }
  vcr = build(
    "vcr",
    **shared,
    annotations=sample / "vcr",
    ground_truth=sample / "regions_objects",
    images=sample / "images",
    max_answer_length=24,
  )
  batch = next(iter(vcr.train_batches(0, 1, batch_size=4)))
  assert (batch["num_regions"] == 8).all()
  lines = (sample / "vcr/train.jsonl").read_text().splitlines()
  objects = json.loads(lines[0])
  row = vcr.rows(np.arange(1), np.arange(1))
  count = len(objects["objects"])
  # The objects come twice: as detected first of all, and as objects last.
  np.testing.assert_array_equal(
    row["region_features"][0, :count],
    row["region_features"][0, 8 - count :],
  )
  vqa = build(
    "vqa",
    **shared,
    annotations=sample / "vqa",
    train_split="train",
    min_answer_count=1,
  )
  assert {"yes", "no"} <= set(vqa.answers)
