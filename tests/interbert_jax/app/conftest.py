"""What tests of rankings share: a run, a catalogue, and dense scores."""

import numpy as np
import pytest

from input_pipeline.catalogues.catalogue import Catalogue
from interbert_jax.app.ranking import scoring
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.evaluation.retrieval import RetrievalEvaluator
from interbert_jax.parallel import make_parallel
from interbert_jax.tasks.retrieval import SCORES
from tests.support.tiny_data import write_lines
from tests.support.tiny_run import L, R, write_run

IMAGES, TILE = 11, 4
ITEMS = [f"im{i}" for i in (7, 0, 3, 9, 1, 10, 2, 5, 4)]
TOPICS = [
  {"topic_id": "t1", "text": "a dog"},
  {"topic_id": "t2", "text": "the cat runs", "examples": ["im3", "im6"]},
  {"topic_id": "t3", "text": "red man", "examples": ["im9"]},
]
# Every text of these tests. As many at a time are scored in several of them:
# what is compiled once serves them all.
TEXTS = [
  *(topic["text"] for topic in TOPICS),
  *("the cat", "red", "man on", "un runs", "sits on the red"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
  root = tmp_path_factory.mktemp("recommendation")
  workdir = write_run(root, images=IMAGES)
  titles = [
    "a dog",
    "the cat",
    "",
    None,
    "a red dog on",
    "man",
    "sits",
    "",
    "a",
  ]
  lines = [
    {"item_id": item} | ({} if title is None else {"title": title})
    for item, title in zip(ITEMS, titles, strict=True)
  ]
  return {
    "root": root,
    "workdir": str(workdir),
    "topics": write_lines(root / "topics.jsonl", TOPICS),
    "items": write_lines(root / "items.jsonl", lines),
  }


@pytest.fixture(scope="module")
def run(files):
  return TrainedRun(files["workdir"], checkpoint="latest", changes=[])


@pytest.fixture(scope="module")
def parallel():
  return make_parallel()


def catalogue_of(run, items=""):
  return Catalogue(run.config["input"]["store"], max_regions=R, items=items)


@pytest.fixture(scope="module")
def dense(run, parallel):
  """Scores of some texts with some images, all at once from the evaluator."""
  catalogue = catalogue_of(run)
  tokenizer = scoring.Texts(run, TEXTS).tokenizer
  packed = tokenizer.pack(
    tokenizer.encode(TEXTS), np.arange(len(TEXTS)), max_length=L
  )
  evaluator = RetrievalEvaluator(
    config=run.model,
    score=SCORES["match"],
    parallel=parallel,
    images=catalogue.read(np.arange(IMAGES)),
    texts={
      **packed,
      "image_of_text": np.zeros(len(TEXTS), int),
    },
    pairs_per_step=16,
  )
  scores_TI = evaluator.scores(run.placed_params(parallel))

  def scores(texts, images=tuple(f"im{n}" for n in range(IMAGES))):
    rows = [TEXTS.index(text) for text in texts]
    columns = [catalogue.item_ids.index(image) for image in images]
    return scores_TI[rows][:, columns]

  return scores
