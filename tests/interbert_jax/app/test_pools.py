"""Queries over a pool of images: recalls, predictions, refusals."""

import json

import numpy as np
import pytest

from input_pipeline.annotations.chinese_clip import read_query_texts
from input_pipeline.catalogues.catalogue import Catalogue
from interbert_jax.app.ranking.chinese_clip import PoolRetrieval
from interbert_jax.app.ranking.settings import PoolSettings
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.contract.errors import ConfigError
from interbert_jax.ranking.retrieval_metrics import retrieval_metrics
from tests.interbert_jax.app.conftest import IMAGES, TEXTS, TILE, catalogue_of
from tests.support.tiny_data import write_lines
from tests.support.tiny_run import R

NAMES = [f"im{n}" for n in range(IMAGES)]


@pytest.fixture
def retrieval_of(run, parallel, tmp_path):
  """Makes a scored retrieval of (text, images) over a catalogue."""

  def make(texts, catalogue=None):
    lines = [
      {"text_id": 100 - n, "text": text, "image_ids": image_ids}
      for n, (text, image_ids) in enumerate(texts)
    ]
    queries = read_query_texts(write_lines(tmp_path / "texts.jsonl", lines))
    settings = PoolSettings(
      texts="texts.jsonl", scores=str(tmp_path / "pool"), tile_items=TILE
    )
    pool = catalogue or catalogue_of(run)
    retrieval = PoolRetrieval(run, queries, pool, settings, parallel)
    retrieval.score()
    return retrieval

  return make


# Queries of one, of several and of no images, over all eleven.
QUERIES = [
  ("a dog", ["im3"]),
  ("the cat", ["im1", "im5", "im3"]),
  ("red", []),
  *(("man on", [f"im{n}"]) for n in range(8)),
]


def test_pool_retrieval(retrieval_of, dense):
  found = retrieval_of(QUERIES).metrics()
  scores = dense([text for text, _ in QUERIES])
  right = np.array([[n in images for n in NAMES] for _, images in QUERIES])

  def recall(scores, right, k):
    """Expected over random orders of ties: drawn, which hits converge to."""
    hits = []
    for row, good in zip(scores, right, strict=True):
      if good.any():
        first = np.argsort(-row, kind="stable")[:k]
        hits.append(good[first].any())
    return np.mean(hits)

  for k in (1, 5, 10):
    name = f"image_retrieval_recall@{k}"
    assert found["metrics"][name] == pytest.approx(recall(scores, right, k))
  mean = np.mean([recall(scores, right, k) for k in (1, 5, 10)])
  assert found["metrics"]["image_retrieval_mean_recall"] == pytest.approx(mean)
  assert (found["n_queries"], found["n_skipped"]) == (10, 1)
  assert found["n_image_queries"] == 8
  # Eight texts are the same: where their score is the best of an image's own
  # texts, the seven of the other images tie with it.
  own = [scores[right[:, n], n].max() for n in range(8)]
  tied = sum(best == scores[-1, n] for n, best in enumerate(own))
  assert found["n_ties"] == tied > 0


def test_a_pool_of_one_image_per_text_is_ordinary_retrieval(
  run, retrieval_of, dense
):
  # As many texts as above.
  texts = [*TEXTS, "a dog", "red", "un runs"]
  names = ["im2", "im5", "im7", "im9"]
  images = [names[n % 4] for n in range(len(texts))]
  store = run.config["input"]["store"]
  retrieval = retrieval_of(
    [(text, [image]) for text, image in zip(texts, images, strict=True)],
    Catalogue(store, max_regions=R, item_ids=names),
  )
  wanted = retrieval_metrics(
    dense(texts, names), np.array([names.index(image) for image in images])
  )
  found = retrieval.metrics()
  for name, value in wanted.items():
    if name not in ("rsum", "n_ties"):
      assert found["metrics"][name] == pytest.approx(value), name
  assert found["n_ties"] == wanted["n_ties"]


def test_predictions(retrieval_of, tmp_path, dense):
  retrieval = retrieval_of(QUERIES)
  paths = retrieval.write_predictions(tmp_path / "out")
  assert [path.name for path in paths] == [
    "text_to_image.jsonl",
    "text_to_image_output.json",
    "image_to_text.jsonl",
    "image_to_text_output.json",
  ]
  lines = [json.loads(line) for line in paths[0].read_text().splitlines()]
  assert [line["text_id"] for line in lines] == [100 - n for n in range(11)]
  scores = dense([text for text, _ in QUERIES])
  for line, row in zip(lines, scores, strict=True):
    assert line["image_ids"] == [NAMES[n] for n in np.argsort(-row)[:10]]
  back = [json.loads(line) for line in paths[2].read_text().splitlines()]
  assert [line["image_id"] for line in back] == [f"im{n}" for n in range(8)]
  assert all(len(set(line["text_ids"])) == 10 for line in back)
  score = json.loads(paths[1].read_text())["scoreJson"]
  metrics = retrieval.metrics()["metrics"]
  assert score["r5"] == pytest.approx(100 * metrics["image_retrieval_recall@5"])


def test_images_outside_the_pool_are_named(retrieval_of, run):
  store = run.config["input"]["store"]
  some = Catalogue(store, max_regions=R, item_ids=NAMES[:2])
  with pytest.raises(ValueError, match=r"not in the pool of 2.*im3"):
    retrieval_of(QUERIES, some)


def test_scores_of_other_settings_are_other_scores(files, run):
  """What changes a score changes its facts; where a file lies does not."""

  def facts(*changes):
    opened = TrainedRun(
      files["workdir"], checkpoint="latest", changes=list(changes)
    )
    return opened.score_facts(data="d")

  same = run.score_facts(data="d")
  assert facts("input.store=elsewhere", "evals.pairs_per_step=8") == same
  for change in (
    "input.max_regions=1",
    "input.max_text_length=4",
    "input.captions.on_missing=skip",
    "model.dtype=bfloat16",
  ):
    assert facts(change) != same, change
  assert run.score_facts(data="other") != same


def test_the_model_is_that_of_the_checkpoint(files):
  def opened(change):
    return TrainedRun(files["workdir"], checkpoint="latest", changes=[change])

  assert opened("model.dtype=bfloat16").model.dtype == "bfloat16"
  with pytest.raises(
    ConfigError, match="model.fusion: .*dtype, matmul_precision, remat"
  ):
    opened("model.fusion=sum")
