"""A task whose model is a line: it compiles at once, for tests of the loop."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from interbert_jax.contract.batch import PRETRAIN, dummy_batch
from interbert_jax.model.config import InterBertConfig, make_config
from interbert_jax.parallel import make_parallel
from interbert_jax.training.train import train_and_evaluate

BATCH = 8
DIMS = {"L": 4, "R": 2, "E": 3, "C": 2}
KEYS = ("region_features", "example_id", "position", "example_weight")
OPTIM = {"lr": 0.1, "warmup_steps": 0, "weight_decay": 0.1, "b2": 0.9}


@dataclasses.dataclass(frozen=True)
class LineTask:
  """Two lines through the features, whose losses count unlike examples.

  With `wide` there is an array of so many rows, large enough to be spread.
  """

  config: InterBertConfig = make_config("tiny")
  wide: int = 0
  group_size: int = 1
  loss_weights: ClassVar = {"a_loss": 1.0, "b_loss": 0.5}
  batch_spec: ClassVar = {key: PRETRAIN[key] for key in KEYS}

  def init(self, rng, batch):
    kernel = jax.random.normal(rng, (DIMS["E"], 2))
    params = {
      "line": {"kernel": kernel, "bias": jnp.ones(2)},
      "other": {"kernel": kernel},
    }
    if self.wide:
      params["wide"] = jax.random.normal(rng, (self.wide, 64))
    return params

  def prepare(self, batch, mask_key, *, train):
    weight_B = batch["example_weight"]
    return {
      "features": jnp.float32(batch["region_features"][:, 0]),
      "targets": jnp.float32(batch["position"] % 5),
      "weights": (weight_B, weight_B * (batch["position"] % 3 == 0)),
    }

  def weights(self, inputs):
    sums = map(jnp.sum, inputs["weights"])
    return dict(zip(self.loss_weights, sums, strict=True))

  def losses(self, params, inputs, *, dropout_key=None):
    out_B2 = inputs["features"] @ params["line"]["kernel"]
    out_B2 = out_B2 + params["line"]["bias"] + params["other"]["kernel"][0]
    if self.wide:
      out_B2 = out_B2 + jnp.mean(params["wide"] ** 2)
    error_B2 = jnp.square(out_B2 - inputs["targets"][:, None])
    sums = [
      jnp.sum(error_B2[:, i] * weight_B)
      for i, weight_B in enumerate(inputs["weights"])
    ]
    weights = self.weights(inputs)
    sums = dict(zip(self.loss_weights, sums, strict=True))
    return sums, {name: (sums[name], weights[name]) for name in sums}


def line_batch(step, *, bad=False, size=BATCH):
  """The batch of a step; a bad one has a feature that is not finite."""
  batch = dummy_batch(
    LineTask.batch_spec, dims={**DIMS, "B": size}, vocab_size=9, seed=step
  )
  position = np.arange(size, dtype=np.int32) + step * size
  batch |= {"position": position, "example_id": position + 100}
  batch["example_weight"][:3] = 0
  if bad:
    batch["region_features"][4, 0, 1] = np.nan
  return batch


def train_line(
  workdir,
  *,
  total_steps,
  bad_steps=(),
  stop_after=None,
  before_batch=None,
  batch_size=BATCH,
  task=None,
  **changes: Any,
):
  """The training loop; the batches of `bad_steps` (from 1) are bad.

  `before_batch` is called with the number of steps before each batch.
  """
  rows = slice(
    jax.process_index() * batch_size // jax.process_count(),
    (jax.process_index() + 1) * batch_size // jax.process_count(),
  )

  def batches(first, last):
    for step in range(first, last):
      if step == stop_after:
        raise KeyboardInterrupt
      if before_batch is not None:
        before_batch(step)
      batch = line_batch(step, bad=step + 1 in bad_steps, size=batch_size)
      yield {key: value[rows] for key, value in batch.items()}

  options = {
    "evaluators": {},
    "parallel": make_parallel(devices=jax.devices()[:1]),
    "optim_config": OPTIM,
    "checkpoint_config": {"save_every": 2, "best_metric": ""},
    "log_every": 2,
    "meta": {},
    "resume_keys": (),
    "eval_every": 0,
    **changes,
  }
  return train_and_evaluate(
    workdir=workdir,
    task=task or LineTask(),
    train_batches=batches,
    dims=DIMS,
    seed=0,
    batch_size=batch_size,
    total_steps=total_steps,
    **options,
  )
