"""Every task on batches that are cut by the lengths of their texts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interbert_jax.contract.batch import dummy_batch
from interbert_jax.contract.batch_sizes import Part
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

PARTS = (Part(2, 5), Part(1, 8), Part(1, 10))
LENGTHS = np.array([4, 5, 8, 10] * 2)
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


@pytest.mark.parametrize("name", TASKS)
def test_losses_and_gradients_are_those_of_padded_texts(name):
  task = TASKS[name]
  dims = {**DIMS, "B": 8, "T": 4 if name == "vcr" else 3, "I": 2}
  batch = dummy_batch(task.batch_spec, dims=dims, vocab_size=VOCAB)
  shape = batch["text_length"].shape
  length = np.broadcast_to(
    LENGTHS.reshape(-1, *[1] * (len(shape) - 1)), shape
  ).copy()
  if len(shape) == 2:
    length[:, 1:] = 3  # the longest text of an example decides
  slot = np.arange(DIMS["L"])
  ids = np.where(slot < length[..., None], batch["text_ids"] | 1, 0)
  batch |= {"text_ids": np.int32(ids), "text_length": np.int32(length)}
  batch = jax.tree.map(jnp.asarray, batch)
  params = drawn_params(task, batch, seed=1)

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
