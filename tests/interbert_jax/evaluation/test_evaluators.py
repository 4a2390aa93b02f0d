"""Evaluators against one big batch; test_pair_scorer has pairs one by one."""

import functools

import jax
import numpy as np
import pytest

from interbert_jax.evaluation.evaluators import EvalBatches, LossEvaluator
from interbert_jax.evaluation.retrieval import RetrievalEvaluator
from interbert_jax.parallel import make_parallel
from interbert_jax.ranking.retrieval_metrics import retrieval_metrics
from interbert_jax.tasks.retrieval import SCORES
from tests.support.tiny_task import (
  image_side,
  text_side,
  tiny_batch,
  tiny_task,
  visible_params,
)

EXAMPLES = 13
NUM_IMAGES = 3
IMAGE_OF_TEXT = np.array([0, 0, 1, 2, 2])


@pytest.fixture(scope="module")
def task():
  # In training these few rows would drop most of the masked slots.
  return tiny_task(mlm_rows=0.5, mrm_rows=0.5)


@pytest.fixture(scope="module")
def params(task):
  return jax.device_get(visible_params(task, tiny_batch(batch_size=1)))


@pytest.fixture(scope="module")
def sides():
  """Three images and five texts."""
  texts = tiny_batch(2, len(IMAGE_OF_TEXT))
  images = image_side(tiny_batch(1, NUM_IMAGES))
  return images, text_side(texts, IMAGE_OF_TEXT)


def make_evaluator(task, sides, pairs_per_step):
  return RetrievalEvaluator(
    config=task.config,
    score=SCORES["match"],
    parallel=make_parallel(),
    images=sides[0],
    texts=sides[1],
    pairs_per_step=pairs_per_step,
  )


def test_retrieval_metrics_and_counts(task, sides, params):
  evaluator = make_evaluator(task, sides, 8)
  scores = evaluator.scores(params)
  assert scores.shape == (5, 3) and scores.dtype == np.float32
  called = []
  metrics = evaluator.run(params, lambda: called.append(1))
  assert metrics == retrieval_metrics(scores, IMAGE_OF_TEXT)
  assert called  # before every batch of pairs
  assert evaluator.counts() == {
    "n_images": 3,
    "n_texts": 5,
    "n_pairs_scored": 15,
  }


def test_pairs_that_devices_cannot_share(task, sides):
  with pytest.raises(ValueError, match="evals.pairs_per_step is 12"):
    make_evaluator(task, sides, 12)


def padded_batches(batch_size, *, garbage=False):
  """The 13 examples in batches; rows beyond them have weight 0."""
  rows = -(-EXAMPLES // batch_size) * batch_size
  whole = tiny_batch(0, 16)
  for key, array in whole.items():
    whole[key] = array[np.minimum(np.arange(rows), 15)]
  whole["example_weight"][EXAMPLES:] = 0
  for key in whole:
    if key != "example_weight":
      whole[key][EXAMPLES:] = whole[key][EXAMPLES - 1]
  if garbage:
    rng = np.random.default_rng(0)
    for key, most in (
      ("text_ids", 120),
      ("text_length", 11),
      ("num_regions", 7),
      ("is_match", 2),
      ("position", 2**31 - 1),
      ("example_id", 2**31 - 1),
    ):
      whole[key][EXAMPLES:] = rng.integers(0, most, whole[key][13:].shape)
    whole["region_features"][EXAMPLES:] = np.nan
    whole["region_boxes"][EXAMPLES:] = -1e9
    whole["region_class_probs"][EXAMPLES:] = np.inf
  return [
    {key: array[start : start + batch_size] for key, array in whole.items()}
    for start in range(0, rows, batch_size)
  ]


@pytest.fixture(scope="module")
def evaluate(task, params):
  """Runs the evaluator of a number of devices over some batches."""
  given = {}

  @functools.cache
  def evaluator(devices):
    parallel = make_parallel(devices=jax.devices()[:devices])
    return LossEvaluator(
      task=task,
      parallel=parallel,
      batches=EvalBatches(lambda: given["batches"]),
    ), parallel.put_replicated(params)

  def run(batches, devices=8):
    given["batches"] = batches
    found, placed = evaluator(devices)
    return found.run(placed)

  return run


@pytest.fixture(scope="module")
def in_one_batch(evaluate):
  """All 13 examples at once, without padding, on one device."""
  batch = {k: v[:EXAMPLES] for k, v in padded_batches(16)[0].items()}
  return evaluate([batch], devices=1)


@pytest.mark.parametrize(
  ("batch_size", "devices"), [(8, 8), (16, 8), (1, 1), (7, 1), (64, 1)]
)
def test_losses_equal_those_of_one_batch(
  evaluate, in_one_batch, batch_size, devices
):
  found = evaluate(padded_batches(batch_size), devices=devices)
  assert found == {
    k: pytest.approx(v, rel=1e-5) for k, v in in_one_batch.items()
  }


def test_what_is_measured(in_one_batch):
  losses = [in_one_batch[f"{name}_loss"] for name in ("mlm", "mrm", "itm")]
  assert min(losses) > 0
  assert in_one_batch["loss"] == pytest.approx(sum(losses))
  batch = tiny_batch(0)
  wanted = batch["is_match"][:EXAMPLES].mean()
  assert in_one_batch["match_rate"] == pytest.approx(wanted)


def test_evaluation_drops_no_masked_slot(in_one_batch):
  assert 0.05 < in_one_batch["mlm_rate"] < 1
  assert 0.05 < in_one_batch["mrm_rate"] < 1
  assert in_one_batch["mlm_dropped"] == in_one_batch["mrm_dropped"] == 0


@pytest.mark.parametrize("batch_size", [8, 16])
def test_padding_rows_count_for_nothing(evaluate, batch_size):
  """Bit for bit, whatever stands in them."""
  clean = evaluate(padded_batches(batch_size))
  assert evaluate(padded_batches(batch_size, garbage=True)) == clean
