"""Every task on batches that are cut by their texts and images."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interbert_jax.contract.batch import dummy_batch
from interbert_jax.contract.batch_sizes import Part
from interbert_jax.evaluation.evaluators import eval_step
from interbert_jax.evaluation.predictions import predict_step
from interbert_jax.tasks.retrieval import RetrievalTask
from interbert_jax.tasks.statements import StatementTask
from interbert_jax.tasks.text import TextTask
from interbert_jax.tasks.vcr import VcrTask
from interbert_jax.tasks.vqa import VqaTask
from tests.support.tiny_task import (
  DIMS,
  VOCAB,
  drawn_params,
  tiny_config,
  tiny_task,
)

PARTS = (Part(2, 5, 2), Part(1, 8, 2), Part(1, 10))
LENGTHS = np.array([4, 5, 8, 10] * 2)
REGIONS = np.array([2, 1, 2, DIMS["R"]] * 2)
KEY = jax.random.key(0)
CONFIG = tiny_config(dropout=False)
TASKS = {
  "pretraining": tiny_task(dropout=False),
  "pretraining, remat": tiny_task(dropout=False, model={"remat": "full"}),
  "vqa": VqaTask(CONFIG, num_answers=7),
  "vcr": VcrTask(CONFIG),
  "statements": StatementTask(CONFIG, num_labels=2, num_images=2),
  "text": TextTask(CONFIG, num_labels=3),
  "retrieval": RetrievalTask(CONFIG),
}


def make_batch(task, name):
  """Texts as long as LENGTHS, images with as many as REGIONS."""
  dims = {**DIMS, "B": 8, "T": 4 if name == "vcr" else 3, "I": 2}
  batch = dummy_batch(task.batch_spec, dims=dims, vocab_size=VOCAB)
  shape = batch["text_length"].shape
  length = np.broadcast_to(
    LENGTHS.reshape(-1, *[1] * (len(shape) - 1)), shape
  ).copy()
  if len(shape) == 2:
    length[:, 1:] = 3  # the longest text of an example decides
  if "num_regions" in batch:
    counts = batch["num_regions"]
    many = REGIONS.reshape(-1, *[1] * (counts.ndim - 1))
    batch["num_regions"] = np.broadcast_to(many, counts.shape).astype(np.int32)
  slot = np.arange(DIMS["L"])
  ids = np.where(slot < length[..., None], batch["text_ids"] | 1, 0)
  batch |= {"text_ids": np.int32(ids), "text_length": np.int32(length)}
  return jax.tree.map(jnp.asarray, batch)


@pytest.mark.parametrize("name", TASKS)
def test_losses_and_gradients_are_those_of_padded_texts(name):
  task = TASKS[name]
  batch = make_batch(task, name)
  params = drawn_params(task, batch, seed=2)

  def loss(params, parts):
    inputs = task.prepare(batch, jax.random.key(0), train=True, parts=parts)
    sums, metrics = task.losses(params, inputs)
    return sum(sums.values()), metrics

  run = jax.jit(jax.value_and_grad(loss, has_aux=True), static_argnums=1)
  (cut, cut_metrics), cut_grads = run(params, PARTS)
  (padded, metrics), grads = run(params, None)
  np.testing.assert_allclose(cut, padded, rtol=1e-5)
  for metric, pair in metrics.items():
    np.testing.assert_allclose(
      cut_metrics[metric], pair, rtol=1e-5, err_msg=metric
    )
  assert all(pair[1] > 0 for loss, pair in metrics.items() if "loss" in loss)
  largest = jax.tree.map(lambda x: float(jnp.abs(x).max()), grads)
  # Keys have a bias whose gradient is rounding alone: no less than this.
  least = 0.01 * max(jax.tree.leaves(largest))
  assert least > 0
  jax.tree.map(
    lambda a, b, scale: np.testing.assert_allclose(
      a, b, atol=1e-5 * max(scale, least)
    ),
    cut_grads,
    grads,
    largest,
  )


def cut_and_padded(step, name, *arguments):
  """What a step of an evaluation gives for a batch, cut and not."""
  task = TASKS[name]
  batch = make_batch(task, name)
  params = drawn_params(task, batch, seed=2)
  run = jax.jit(functools.partial(step, task=task), static_argnames="parts")
  return [
    run(params, batch, *arguments, parts=parts) for parts in (PARTS, None)
  ]


def test_pretraining_is_evaluated_as_on_padded_texts():
  cut, padded = cut_and_padded(eval_step, "pretraining", KEY)
  for metric, pair in padded.items():
    np.testing.assert_allclose(cut[metric], pair, rtol=1e-5, err_msg=metric)
  # A place for every slot that is not cut off, and all are real.
  task = TASKS["pretraining"]
  batch = make_batch(task, "pretraining")
  rows = task.prepare(batch, KEY, train=False, parts=PARTS).mlm_rows
  assert rows.index_GK.shape == (2, 28)
  assert rows.dropped == 0


def test_outputs_are_those_of_padded_texts():
  cut, padded = (x["outputs"] for x in cut_and_padded(predict_step, "vcr"))
  scale = np.abs(padded).max()
  assert scale > 1
  np.testing.assert_allclose(cut, padded, atol=1e-5 * scale)
