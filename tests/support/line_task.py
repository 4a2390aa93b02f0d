"""A task whose model is a line: it compiles at once, for tests of the loop."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from interbert_jax.checkpoints.checkpoints import Checkpoints
from interbert_jax.checkpoints.settings import CheckpointSettings
from interbert_jax.contract.batch import PRETRAIN, dummy_batch
from interbert_jax.contract.batch_sizes import Parts
from interbert_jax.evaluation.settings import EvalSettings
from interbert_jax.model.config import InterBertConfig, make_config
from interbert_jax.parallel import make_parallel
from interbert_jax.training import steps
from interbert_jax.training.settings import (
  OptimSettings,
  RunSettings,
  TrainSettings,
)
from interbert_jax.training.train import train_and_evaluate

BATCH = 8
DIMS = {"L": 4, "R": 2, "E": 3, "C": 2}
KEYS = ("region_features", "example_id", "position", "example_weight")
OPTIM = {"lr": 0.1, "warmup_steps": 0, "weight_decay": 0.1, "b2": 0.9}


def run_settings(
  *,
  optim_config,
  checkpoint_config,
  eval_every: int = 0,
  **changes: Any,
) -> RunSettings:
  """Settings of a run; the changes are of `train`, or of the run itself."""
  fields = {field.name for field in dataclasses.fields(TrainSettings)}
  train = {key: changes.pop(key) for key in fields & changes.keys()}
  return RunSettings(
    train=TrainSettings(**{"watchdog_seconds": 0.0, **train}),
    optim=OptimSettings(**optim_config),
    checkpoint=CheckpointSettings(**checkpoint_config),
    evals=EvalSettings(every=eval_every),
    **changes,
  )


@dataclasses.dataclass(frozen=True)
class BatchData:
  """Data of a function (first_step, last_step) -> batches of this process."""

  batches: Callable[[int, int], Iterator]
  dims: Mapping[str, int]
  facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  unit: str = "examples"
  num_examples: int = 100
  cut: Callable[[int], Parts] = lambda _: None  # of a step

  @property
  def info(self):
    return {"fingerprint": "a", "vocab_sha256": "b", **self.facts}

  def train_batches(self, first_step, last_step, **_):
    return self.batches(first_step, last_step)

  def parts(self, step, **_):
    return self.cut(step)


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

  def prepare(self, batch, mask_key, *, train, parts=None):
    weight_B = batch["example_weight"]
    return {
      "features": jnp.float32(batch["region_features"][:, 0]),
      "targets": jnp.float32(batch["position"] % 5),
      "weights": (weight_B, weight_B * (batch["position"] % 3 == 0)),
    }

  def weights(self, inputs):
    sums = map(jnp.sum, inputs["weights"])
    return dict(zip(self.loss_weights, sums, strict=True))

  def losses(self, params, inputs, *, dropout_key=None, axis_name=None):
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


def saved(workdir, step, item="params"):
  with Checkpoints(workdir / "checkpoints", create=False) as checkpoints:
    return checkpoints.load_params(step, item)[0]


def train_line(
  workdir,
  *,
  total_steps,
  bad_steps=(),
  stop_after=None,
  before_batch=None,
  batch_size=BATCH,
  task=None,
  parallel=None,
  evaluators=None,
  config=None,
  info=None,
  **changes: Any,
):
  """The training loop; the batches of `bad_steps` (from 1) are bad.

  `before_batch` is called with the number of steps before each batch; the
  changes are those of `run_settings`.
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
    "optim_config": OPTIM,
    "checkpoint_config": {"save_every": 2, "best_metric": ""},
    "log_every": 2,
    **changes,
  }
  return train_and_evaluate(
    task or LineTask(),
    BatchData(batches, DIMS, info or {}),
    evaluators or {},
    run_settings(steps=total_steps, batch_size=batch_size, **options),
    parallel or make_parallel(devices=jax.devices()[:1]),
    workdir,
    config=config,
  )


def one_update(task, tx, batch, *, accumulate_steps=1, **layout):
  """(raw gradient, metrics, state) of one step, with SGD of rate 1."""
  parallel, key = make_parallel(**layout), jax.random.key(0)
  example = jax.tree.map(lambda x: x[:1], batch)
  state = parallel.init(lambda: steps.init_state(task.init(key, example), tx))
  before = jax.device_get(parallel.eval_params(state))
  step = parallel.compile_train_step(
    functools.partial(
      steps.train_step, task=task, tx=tx, accumulate_steps=accumulate_steps
    ),
    state,
  )
  state, metrics = step(state, parallel.put(batch), key)
  after = jax.device_get(parallel.eval_params(state))
  gradient = jax.tree.map(np.subtract, before, after)
  return gradient, parallel.fetch(metrics), state
