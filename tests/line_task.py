"""A task whose model is a line: it compiles at once, for tests of the loop."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from interbert_jax.batch import PRETRAIN, dummy_batch
from interbert_jax.config import InterBertConfig, make_config
from interbert_jax.parallel import make_parallel
from interbert_jax.train import train_and_evaluate

BATCH = 8
DIMS = {"L": 4, "R": 2, "E": 3, "C": 2}
KEYS = ("region_features", "example_id", "position", "example_weight")
OPTIM = {"lr": 0.1, "warmup_steps": 0, "weight_decay": 0.1, "b2": 0.9}


@dataclasses.dataclass(frozen=True)
class LineTask:
  """Two lines through the features, whose losses count unlike examples."""

  config: InterBertConfig = make_config("tiny")
  group_size: int = 1
  loss_weights: ClassVar = {"a_loss": 1.0, "b_loss": 0.5}
  batch_spec: ClassVar = {key: PRETRAIN[key] for key in KEYS}

  def init(self, rng, batch):
    kernel = jax.random.normal(rng, (DIMS["E"], 2))
    return {
      "line": {"kernel": kernel, "bias": jnp.ones(2)},
      "other": {"kernel": kernel},
    }

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
    error_B2 = jnp.square(out_B2 - inputs["targets"][:, None])
    sums = [
      jnp.sum(error_B2[:, i] * weight_B)
      for i, weight_B in enumerate(inputs["weights"])
    ]
    weights = self.weights(inputs)
    sums = dict(zip(self.loss_weights, sums, strict=True))
    return sums, {name: (sums[name], weights[name]) for name in sums}


def line_batch(step, *, bad=False):
  """The batch of a step; a bad one has a feature that is not finite."""
  batch = dummy_batch(
    LineTask.batch_spec, dims={**DIMS, "B": BATCH}, vocab_size=9, seed=step
  )
  position = np.arange(BATCH, dtype=np.int32) + step * BATCH
  batch |= {"position": position, "example_id": position + 100}
  batch["example_weight"][:3] = 0
  if bad:
    batch["region_features"][4, 0, 1] = np.nan
  return batch


def train_line(
  workdir, *, total_steps, bad_steps=(), stop_after=None, **changes: Any
):
  """The training loop; the batches of `bad_steps` (from 1) are bad."""

  def batches(first, last):
    for step in range(first, last):
      if step == stop_after:
        raise KeyboardInterrupt
      yield line_batch(step, bad=step + 1 in bad_steps)

  options = {
    "evaluators": {},
    "parallel": make_parallel(devices=jax.devices()[:1]),
    "optim_config": OPTIM,
    "checkpoint_config": {"save_every": 2, "best_metric": ""},
    "log_every": 2,
    **changes,
  }
  return train_and_evaluate(
    workdir=workdir,
    task=LineTask(),
    train_batches=batches,
    dims=DIMS,
    meta={},
    resume_keys=(),
    seed=0,
    batch_size=BATCH,
    total_steps=total_steps,
    eval_every=0,
    **options,
  )
