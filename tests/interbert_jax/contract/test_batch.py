"""The batch contract: what passes, and what the refusals say."""

import numpy as np
import pytest

from interbert_jax.contract.batch import (
  PRETRAIN,
  check_batch,
  check_values,
  dummy_batch,
  limited,
  pretrain_spec,
)
from interbert_jax.contract.errors import ConfigError
from interbert_jax.tasks.vcr import VcrTask
from interbert_jax.training.train import checked
from tests.support.tiny_task import tiny_batches, tiny_task

DIMS = {"B": 4, "L": 10, "R": 6, "E": 16, "C": 9}


@pytest.fixture
def batch():
  return dummy_batch(dims=DIMS, vocab_size=50)


def refusal(batch, **options):
  """The problems that the message lists."""
  with pytest.raises(ValueError, match="^bad batch:\n") as caught:
    check_batch(batch, **options)
  return [line.strip() for line in str(caught.value).split("\n")[1:]]


def test_a_dummy_batch_passes(batch):
  assert list(batch) == list(PRETRAIN)
  assert check_batch(batch) == DIMS
  assert check_batch(batch, dims={"E": 16, "C": 9}) == DIMS


def test_a_dummy_batch_is_padded_with_zeros(batch):
  slots, regions = np.arange(DIMS["L"]), np.arange(DIMS["R"])
  text_BL = slots < batch["text_length"][:, None]
  region_BR = regions < batch["num_regions"][:, None]
  assert (batch["text_ids"][text_BL] >= 5).all()
  assert (batch["text_ids"][~text_BL] == 0).all()
  assert not region_BR.all()
  for key in ("region_features", "region_boxes", "region_class_probs"):
    assert (batch[key][~region_BR] == 0).all()
  sums = batch["region_class_probs"][region_BR].astype(float).sum(-1)
  np.testing.assert_allclose(sums, 1, atol=2e-3)


def test_dummy_batches_follow_the_seed():
  make = [dummy_batch(dims=DIMS, vocab_size=50, seed=s) for s in (1, 1, 2)]
  for key in PRETRAIN:
    np.testing.assert_array_equal(make[0][key], make[1][key])
  assert (make[0]["region_boxes"] != make[2]["region_boxes"]).any()


@pytest.mark.parametrize(
  ("change", "problems"),
  [
    (
      lambda batch: {"is_match": None, "label": np.zeros(4)},
      ["is_match: missing", "label: not in the contract"],
    ),
    (
      lambda batch: {"text_ids": batch["text_ids"].astype(np.int64)},
      ["text_ids: expected (B, L) int32, got (4, 10) int64"],
    ),
    (
      lambda batch: {"num_regions": batch["num_regions"][:, None]},
      ["num_regions: expected (B=4) int32, got (4, 1) int32"],
    ),
    (
      lambda batch: {"region_boxes": np.zeros((4, 6, 5), np.float32)},
      ["region_boxes: expected (B=4, R=6, 4) float32, got (4, 6, 5) float32"],
    ),
    # Letters must agree: five regions of features and six boxes; three weights.
    (
      lambda batch: {
        "region_features": batch["region_features"][:, :5],
        "example_weight": batch["example_weight"][:3],
      },
      [
        "region_boxes: expected (B=4, R=5, 4) float32, got (4, 6, 4) float32",
        "region_class_probs: expected (B=4, R=5, C=9) float16, "
        "got (4, 6, 9) float16",
        "example_weight: expected (B=4) float32, got (3,) float32",
      ],
    ),
  ],
)
def test_every_problem_is_named(batch, change, problems):
  batch |= change(batch)
  assert refusal({k: v for k, v in batch.items() if v is not None}) == problems


def test_sizes_that_the_model_wants(batch):
  assert refusal(batch, dims={"E": 2048, "L": 36}) == [
    "text_ids: expected (B=4, L=36) int32, got (4, 10) int32",
    "region_features: expected (B=4, R=6, E=2048) float16, "
    "got (4, 6, 16) float16",
  ]


@pytest.mark.parametrize("encoding", ["uint8", "int8"])
def test_features_of_8_bits_come_with_a_scale(encoding):
  spec = pretrain_spec(encoding)
  batch = dummy_batch(spec, dims=DIMS, vocab_size=30)
  assert batch["region_features"].dtype == encoding
  assert check_batch(batch, spec) == DIMS
  del batch["region_feature_scale"]
  with pytest.raises(ValueError, match="region_feature_scale: missing"):
    check_batch(batch, spec)


def test_unknown_encoding():
  assert pretrain_spec() == PRETRAIN
  with pytest.raises(ValueError, match="'int4'; wanted float16, uint8, int8"):
    pretrain_spec("int4")


@pytest.mark.parametrize(
  ("key", "value", "limit"),
  [("text_ids", 50, 49), ("text_ids", -1, 49), ("is_match", 2, 1)],
)
def test_values_beyond_their_limit(batch, key, value, limit):
  spec = limited(PRETRAIN, text_ids=50, is_match=2)
  check_values(batch, spec)
  batch[key][2] = value
  words = f"{key} of example 2: found {value}, wanted 0 to {limit};"
  with pytest.raises(ConfigError, match=words):
    check_values(batch, spec)


def test_labels_of_tasks_have_limits():
  spec = VcrTask(tiny_task().config).batch_spec
  limits = {key: want.below for key, want in spec.items() if want.below}
  assert limits == {"text_ids": 120, "label": 4, "objective": 2}


def test_every_batch_of_a_run_is_looked_at():
  def batches():
    *good, last = tiny_batches(0, 3)
    yield from good
    yield {**last, "text_ids": last["text_ids"] + 10_000}

  task = tiny_task()
  found = checked(batches(), task=task, dims={"L": 10})
  next(found), next(found)
  with pytest.raises(ConfigError, match="text_ids of example .* wanted 0 to"):
    next(found)
