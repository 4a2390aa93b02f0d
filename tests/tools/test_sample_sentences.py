"""Sentence tasks of the sample data: answers by the scenes themselves."""

import itertools

import pytest

from input_pipeline.annotations.sentence_formats import FORMATS
from input_pipeline.annotations.sentences import read_sentences
from interbert_jax.contract.json_file import read_rows
from tests.support.tiny_data import build
from tests.tools.conftest import SCENES
from tools.sample_data.captions import write_captions
from tools.sample_data.nouns import Noun
from tools.sample_data.objects import OBJECTS
from tools.sample_data.scenes import make_scenes, scene_rng
from tools.sample_data.sentences import KindFinder, add_sentences

TASKS = {
  "pairs_en": "mrpc",
  "kinds_en": "sst2",
  "overlap_en": "stsb",
  "pairs_zh": "afqmc",
}


@pytest.fixture(scope="module")
def scene_of(sample, artist):
  """Caption -> the kinds and counts of its scene, from what was drawn."""
  drawn = {
    scene.scene_id: {g.class_index: g.count for g in scene.facts.groups}
    for split, count in SCENES.items()
    for scene in make_scenes(artist, split, count)
  }
  found = {}
  for language in ("en", "zh"):
    for entry in read_rows(sample / f"captions_{language}.jsonl"):
      for caption in entry["captions"]:
        # A caption may be true of two scenes that have the same things.
        found.setdefault(caption, []).append(drawn[entry["image_id"]])
  return found


def rows_of(folder, name, split):
  found = read_sentences(folder / "text" / name, split, FORMATS[TASKS[name]])
  return list(zip(*found.texts, strict=True)), found.labels


@pytest.mark.parametrize("name", ["pairs_en", "pairs_zh"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_pairs_are_of_the_same_scene_or_not(sample, scene_of, name, split):
  pairs, labels = rows_of(sample, name, split)
  assert len(pairs) == 4 * SCENES[split]
  for (first, second), label in zip(pairs, labels, strict=True):
    scenes = [scene_of[first], scene_of[second]]
    equal = any(a == b for a, b in itertools.product(*scenes))
    assert equal == label, (first, second)
    assert first != second or not label
  assert labels.mean() == 0.5


def test_kinds_are_counted(sample, scene_of):
  sentences, labels = rows_of(sample, "kinds_en", "train")
  assert len(sentences) == 60
  for (caption,), label in zip(sentences, labels, strict=True):
    assert label == (len(scene_of[caption][0]) > 2), caption
  assert 0 < labels.mean() < 1


def test_overlap_is_the_share_of_common_kinds(sample, scene_of):
  pairs, labels = rows_of(sample, "overlap_en", "train")
  for (first, second), label in zip(pairs, labels, strict=True):
    wanted = {
      round(5 * len(a.keys() & b.keys()) / len(a.keys() | b.keys()), 3)
      for a, b in itertools.product(scene_of[first], scene_of[second])
    }
    assert round(float(label), 3) in wanted
  assert len(set(labels)) > 2


def test_test_files_have_no_answers(sample):
  for name in TASKS:
    assert rows_of(sample, name, "test")[1] is None


def test_the_files_build_batches(sample):
  for name, task in TASKS.items():
    language = name.rpartition("_")[2]
    data = build(
      "text",
      task=task,
      directory=sample / "text" / name,
      split="train",
      vocab=sample / f"vocab_{language}.txt",
      max_text_length=128,
    )
    assert data.num_truncated_texts == 0
    assert not (data._tables[0].ids == data.tokenizer.unk_id).any()


@pytest.mark.parametrize("mode", ["shapes", "openmoji"])
def test_a_caption_names_the_kinds_of_its_scene(artist, mode):
  """Of shapes as drawn; of objects, with their names in the shapes' place."""
  nouns = artist.nouns
  if mode == "openmoji":
    nouns = [thing.noun for thing in OBJECTS]
    nouns = [nouns[i % len(nouns)] for i in range(len(artist.nouns))]
  finder = KindFinder(nouns)
  for index, scene in enumerate(make_scenes(artist, "train", 60)):
    kinds = {group.class_index for group in scene.facts.groups}
    if mode == "openmoji":
      names = {nouns[kind] for kind in kinds}
      if len(names) < len(kinds):
        continue
    rng = scene_rng(0, "train", index, 1)
    for caption in write_captions("en", scene.facts, nouns, rng):
      found = finder.find(caption)
      assert {nouns[kind] for kind in found} == {nouns[k] for k in kinds}


def test_the_longest_name_wins():
  names = (("star", "stars"), ("star fruit", "star fruits"), ("pan", "pans"))
  finder = KindFinder([Noun((pair,), (), "") for pair in names])
  assert finder.find("two star fruits, and a pan") == {1, 2}
  assert finder.find("a star, star fruit") == {0, 1}
  assert finder.find("a panther") == set()


def test_a_failure_leaves_no_half_of_it(tmp_path):
  (tmp_path / "captions_en.jsonl").write_text('{"split": "train"}\n')
  (tmp_path / "captions_zh.jsonl").write_text("{}\n")
  with pytest.raises(KeyError):
    add_sentences(tmp_path, {"mode": "shapes", "seed": 0})
  assert sorted(path.name for path in tmp_path.iterdir()) == [
    "captions_en.jsonl",
    "captions_zh.jsonl",
  ]
