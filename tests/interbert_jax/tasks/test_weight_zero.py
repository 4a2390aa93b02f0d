"""An example of weight 0 is in no loss, no count and no gradient.

Padding has weight 0, and so has an example whose record cannot be used.
Whatever stands in it, losses and gradients are the same to the last bit; and
those of two parts of a batch, the other part at weight 0, add up to those of
the whole.
"""

import functools

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interbert_jax.contract.batch import dummy_batch
from interbert_jax.tasks.retrieval import RetrievalTask
from interbert_jax.tasks.settings import RetrievalSettings, TextMasking
from interbert_jax.tasks.statements import StatementTask
from interbert_jax.tasks.vcr import VcrTask
from interbert_jax.tasks.vqa import VqaTask
from tests.support.properties import bounded
from tests.support.tiny_task import (
  DIMS,
  VOCAB,
  tiny_config,
  tiny_task,
  visible_params,
)

B = 4
SIZES = {**DIMS, "B": B, "T": 4, "I": 2}
CONFIG = tiny_config(
  dropout=False,
  hidden_size=16,
  mlp_dim=16,
  region_mlp_dim=16,
  pooler_dim=16,
  num_interaction_layers=1,
  num_text_layers=1,
  num_region_layers=1,
)
TASKS = {
  "pretrain": tiny_task(
    dropout=False,
    text_masking=TextMasking(rule="token", rate=0.5),
    region_target="both",
    mrm_feature_weight=0.5,
    mrm_on_mismatched=True,
    model={"hidden_size": 16, "num_interaction_layers": 1},
  ),
  "match": RetrievalTask(CONFIG),
  "hardest": RetrievalTask(
    CONFIG, RetrievalSettings(loss="triplet", hardest=1)
  ),
  "vcr": VcrTask(CONFIG),
  "vqa": VqaTask(CONFIG, num_answers=7),
  "statements": StatementTask(CONFIG, num_labels=3, num_images=2),
}


def good_batch(task, seed=0):
  batch = dummy_batch(task.batch_spec, dims=SIZES, vocab_size=VOCAB, seed=seed)
  # As many answers as there are, some of them asked for.
  rng = np.random.default_rng(seed)
  for key, values in (
    ("answer_ids", rng.integers(0, 7, (B, 10))),
    ("answer_scores", rng.uniform(0, 1, (B, 10))),
    ("answer_accuracy", rng.uniform(0, 1, (B, 10))),
    ("second_start", np.full((B, 4), 3)),
    ("objective", rng.integers(0, 2, B)),
    ("global_features", rng.normal(size=(B, *SHAPES.get(task, ()), 16))),
  ):
    if key in batch:
      batch[key] = values.astype(batch[key].dtype)
  return batch


SHAPES = {TASKS["statements"]: (2,)}


@functools.cache
def compiled(name):
  """(sums, metrics, gradient) of a batch under fixed parameters."""
  task = TASKS[name]
  params = visible_params(task, good_batch(task))

  @jax.jit
  def run(batch):
    inputs = task.prepare(batch, jax.random.key(1), train=True)

    def total(params):
      sums, metrics = task.losses(params, inputs)
      return sum(sums.values()), (sums, metrics)

    grads, found = jax.grad(total, has_aux=True)(params)
    return {"losses": found, "grads": grads, "weights": task.weights(inputs)}

  return lambda batch: jax.device_get(run(batch))


def anything(batch, row, seed, *, empty):
  """The batch with weight 0 and any content in a row.

  An image without regions may hold NaN, as nobody fills its places.
  """
  rng = np.random.default_rng(seed)
  limits = {
    "text_ids": VOCAB,
    "text_length": DIMS["L"] + 1,
    "second_start": DIMS["L"],
    "num_regions": DIMS["R"] + 1,
    "is_match": 2,
    "label": 3,
    "objective": 2,
    "answer_ids": 7,
    "image_size": 4000,
  }
  batch = {key: array.copy() for key, array in batch.items()}
  for key, array in batch.items():
    if array.dtype.kind == "i":
      drawn = rng.integers(0, limits.get(key, 2**31 - 1), array[row].shape)
      array[row] = np.maximum(drawn, 1) if key == "image_size" else drawn
    else:
      scale = 10.0 ** rng.integers(-3, 4)
      array[row] = scale * rng.normal(size=array[row].shape)
  batch["example_weight"][row] = 0
  if empty:
    counts = batch["num_regions"]
    where = (row,) if counts.ndim == 1 else (row, 0)
    counts[where] = 0
    for key in ("region_features", "region_boxes", "region_class_probs"):
      if key in batch:
        batch[key][where] = np.nan
    if "global_features" in batch:
      gone = where[: batch["global_features"].ndim - 1]
      batch["global_features"][gone] = 0
  return batch


@pytest.mark.parametrize("name", TASKS)
def test_its_content_does_not_matter(name):
  run = compiled(name)
  batch = good_batch(TASKS[name])

  @functools.cache
  def wanted(row):
    weights = np.array(batch["example_weight"])
    weights[row] = 0
    return run({**batch, "example_weight": weights})

  @bounded(12)
  @given(st.integers(0, B - 1), st.integers(0, 2**32), st.booleans())
  def check(row, seed, empty):
    found = run(anything(batch, row, seed, empty=empty))
    jax.tree.map(np.testing.assert_array_equal, found, wanted(row))

  check()


@pytest.mark.parametrize("name", TASKS)
def test_parts_add_up(name):
  run = compiled(name)
  batch = good_batch(TASKS[name], seed=3)
  whole = run(batch)

  @bounded(4)
  @given(st.lists(st.booleans(), min_size=B, max_size=B))
  def check(chosen):
    first, second = (
      run({**batch, "example_weight": np.array(part, np.float32)})
      for part in (chosen, np.logical_not(chosen))
    )
    jax.tree.map(
      lambda a, b, c: np.testing.assert_allclose(
        a + b, c, rtol=1e-4, atol=1e-4
      ),
      first,
      second,
      whole,
    )

  check()
