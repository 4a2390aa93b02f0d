"""Region classes with and without text, against the model called by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interbert_jax.evaluation.evaluators import EvalBatches
from interbert_jax.evaluation.region_accuracy import (
  TEXTS,
  RegionAccuracy,
  text_of,
)
from interbert_jax.model.inputs import TextInput
from interbert_jax.parallel import make_parallel
from interbert_jax.tasks.settings import RegionMasking
from tests.support.tiny_task import drawn_params, tiny_batch, tiny_task

COUNT = 32


@pytest.fixture(scope="module")
def task():
  return tiny_task(dropout=False, region_masking=RegionMasking(rate=0.5))


@pytest.fixture(scope="module")
def batch():
  found = tiny_batch(0, COUNT)
  return {**found, "is_match": np.ones(COUNT, np.int32)}


@pytest.fixture(scope="module")
def params(task):
  return drawn_params(task, tiny_batch(batch_size=1), seed=0)


@pytest.fixture(scope="module")
def found(task, params, batch):
  half = COUNT // 2
  weight = np.ones(COUNT, np.float32)
  weight[-1] = 0

  def batches():
    whole = {**batch, "example_weight": weight}
    for start in (0, half):
      yield {k: v[start : start + half] for k, v in whole.items()}

  evaluator = RegionAccuracy(
    task=task,
    parallel=make_parallel(devices=jax.devices()[:1]),
    batches=EvalBatches(batches),
  )
  return evaluator.run(params)


def test_the_three_texts():
  batch = {
    "text_ids": jnp.array([[2, 7, 8, 3, 0], [2, 9, 3, 0, 0]]),
    "text_length": jnp.array([4, 3]),
  }
  whole = text_of(batch, "text")
  assert whole.ids.tolist() == batch["text_ids"].tolist()
  assert whole.mask.sum(1).tolist() == [4, 3]
  empty = text_of(batch, "empty_text")
  assert empty.ids.tolist() == [[2, 3], [2, 3]]
  assert empty.mask.all()
  assert text_of(batch, "no_text") is None


def test_accuracies_of_the_masked_regions(task, params, batch, found):
  inputs = jax.jit(
    lambda batch: task.prepare(batch, jax.random.key(0), train=False)
  )(batch)
  # Hidden regions are those whose features are zero: the rule hides all that
  # it chooses. Slot 0 is the global region.
  slots = np.arange(batch["num_regions"].max())
  real = slots < batch["num_regions"][:, None]
  hidden = real & ~np.asarray(inputs.regions.features[:, 1:]).any(-1)
  hidden[-1] = False
  assert hidden.sum() > 5
  labels = batch["region_class_probs"].argmax(-1)

  @jax.jit
  def outputs(params, text):
    def run(model):
      encoded = model.encode(text, inputs.regions)
      return model.read("region_head", encoded.regions)

    return task.model.apply({"params": params}, method=run)

  mask = np.arange(batch["text_ids"].shape[1]) < batch["text_length"][:, None]
  last = batch["text_ids"][np.arange(COUNT), batch["text_length"] - 1]
  texts = {
    "text": TextInput(batch["text_ids"], mask),
    "empty_text": TextInput(
      np.stack([batch["text_ids"][:, 0], last], 1), np.ones((COUNT, 2))
    ),
    "no_text": None,
  }
  wanted = {}
  for kind, text in texts.items():
    right = np.asarray(outputs(params, text))[:, 1:].argmax(-1) == labels
    wanted[f"mrm_acc_{kind}"] = right[hidden].mean()
  assert len(set(wanted.values())) == 3
  assert found == pytest.approx(wanted)
  assert found.keys() == {f"mrm_acc_{kind}" for kind in TEXTS}


def test_a_model_without_region_classes():
  task = tiny_task(region_target="features", mrm_loss="features")
  with pytest.raises(ValueError, match="predicts no region classes"):
    RegionAccuracy(
      task=task, parallel=make_parallel(), batches=EvalBatches(list)
    )
