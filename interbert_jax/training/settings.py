"""The settings of a run: its length, its optimiser, where it begins.

`RunSettings` are those of every run; the settings of model, task and data join
them in configs/common.py.
"""

import dataclasses
import math
import re
from collections.abc import Iterator
from typing import Any, ClassVar

from interbert_jax.checkpoints.settings import CheckpointSettings
from interbert_jax.contract.batch_sizes import ParallelSettings
from interbert_jax.contract.errors import ConfigError
from interbert_jax.contract.settings import Settings, setting
from interbert_jax.evaluation.settings import EvalSettings
from interbert_jax.weights.settings import InitSettings

RANDOM = "random"  # init_from, said rather than left empty


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainSettings(Settings):
  """How long a run is, and how its steps are made and watched."""

  section: ClassVar[str] = "train"

  batch_size: int = setting(
    512, "examples of a step, over all devices of all hosts", low=1
  )
  steps: int | None = setting(
    None, "length of the run in steps; or set epochs", low=1
  )
  epochs: float | None = setting(
    None, "length of the run in epochs; or set steps", above=0, high=10**9
  )
  log_every: int = setting(50, "steps between two lines of metrics", low=1)
  accumulate_steps: int = setting(
    1,
    "parts that a batch passes in, one after the other: the gradient of the "
    "whole batch in the memory of one part",
    low=1,
  )
  dropout_rng: str = setting(
    "threefry2x32",
    "generator of dropout's random bits: threefry2x32 (JAX's own), or hash, "
    "which is cheaper (dropout_rng.py); masks of words and regions stay",
    choices=("threefry2x32", "hash"),
  )
  ema_decay: float | None = setting(
    None,
    "decay of a moving average of the parameters, which evaluation then uses "
    "(officially 0.9999 in fine-tuning); None for no average",
    above=0,
    below=1,
  )
  max_skipped: int = setting(
    10,
    "a step whose loss or gradient is not finite is not applied; the run "
    "stops after so many in a row",
    low=1,
  )
  watchdog_seconds: float = setting(
    1800.0,
    "seconds without a step after which the stacks of all threads are shown; "
    "0 for never",
    low=0,
  )
  watchdog_abort: bool = setting(
    False, "end a run that hangs, with status 70, once its stacks are shown"
  )
  preempt_exit_code: int = setting(
    0,
    "exit status of a run that SIGTERM or Ctrl-C has ended, for schedulers "
    "that start again only what has failed",
    low=0,
    high=255,
  )
  log_examples: bool = setting(
    False, "write the example ids of every step to examples.jsonl"
  )

  def check(self) -> Iterator[str]:
    if (self.steps is None) == (self.epochs is None):
      yield (
        f"train.steps is {self.steps} and train.epochs is {self.epochs}; set "
        "exactly one of them"
      )

  def total_steps(self, num_examples: int) -> int:
    """Updates of a run on so many examples."""
    if self.steps is not None:
      return self.steps
    return math.ceil(self.epochs * num_examples / self.batch_size)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimSettings(Settings):
  """The optimiser; docs/optimisation.md has the official recipe beside it."""

  section: ClassVar[str] = "optim"

  algorithm: str = setting(
    "adamw",
    "adamw, or bert_adam: Adam without bias correction, as officially",
    choices=("adamw", "bert_adam"),
  )
  lr: float = setting(1e-4, "peak of the learning rate", above=0)
  schedule: str = setting(
    "linear",
    "linear (from peak / W up, then down to 0), constant (after the warm-up), "
    "official_linear, official_constant (whose first update has rate 0)",
    choices=("linear", "constant", "official_linear", "official_constant"),
  )
  warmup_fraction: float = setting(
    0.1, "W, updates of the warm-up, as a share of all", low=0, high=1
  )
  warmup_steps: int | None = setting(
    None, "W itself, instead of warmup_fraction", low=0
  )
  milestones: tuple[float, ...] = setting(
    (), "from each of these on the rate is milestone_factor times as high"
  )
  milestone_unit: str = setting(
    "epochs",
    "what milestones are counted in: epochs or steps",
    choices=("epochs", "steps"),
  )
  milestone_factor: float = setting(
    0.1, "what each milestone multiplies the rate with", above=0
  )
  rate_groups: tuple[Any, ...] = setting(
    (),
    "pairs of a regular expression, searched in the paths of the parameters, "
    "and a multiplier of their rate; the first match wins, 0 freezes: "
    "(('region_encoder/', 0.1), ('embed', 0))",
  )
  layer_decay: float = setting(
    1.0,
    "multiplier of the rate for each layer away from the heads; 1 for none",
    above=0,
    high=1,
  )
  weight_decay: float = setting(0.01, "weight decay, decoupled", low=0)
  decay_on: str = setting(
    "matrices",
    "parameters that decay: matrices, or, as officially, biases_and_norms",
    choices=("matrices", "biases_and_norms"),
  )
  clip: str = setting(
    "global",
    "gradients are clipped by the norm of all (global), each by its own "
    "(per_parameter), or not (none)",
    choices=("global", "per_parameter", "none"),
  )
  clip_norm: float = setting(1.0, "norm that gradients are clipped to")
  b1: float = setting(0.9, "decay of Adam's mean", low=0, below=1)
  b2: float = setting(0.999, "decay of Adam's mean square", low=0, below=1)
  eps: float = setting(1e-6, "Adam's epsilon", low=0)

  def check(self) -> Iterator[str]:
    if self.clip != "none" and not self.clip_norm > 0:
      yield (
        f"optim.clip_norm is {self.clip_norm}; wanted more than 0, or "
        "optim.clip=none"
      )
    starts = (0, *self.milestones)
    if any(a >= b for a, b in zip(starts, self.milestones, strict=False)):
      yield (
        f"optim.milestones are {self.milestones}; wanted rising numbers of "
        f"{self.milestone_unit} above 0"
      )
    for group in self.rate_groups:
      try:
        compile_group(group)
      except ConfigError as error:
        yield str(error)


def compile_group(group: tuple) -> tuple[re.Pattern, float]:
  """The pattern and the multiplier of one of optim.rate_groups."""
  wanted = (
    "wanted pairs of a regular expression and a multiplier, such as "
    "(('text_embeddings/', 0.1),)"
  )
  is_pair = isinstance(group, (tuple, list)) and len(group) == 2
  if not is_pair or [type(x) for x in group] not in ([str, float], [str, int]):
    raise ConfigError(f"optim.rate_groups has {group!r:.60}; {wanted}")
  pattern, multiplier = group
  try:
    compiled = re.compile(pattern)
  except re.error as error:
    raise ConfigError(
      f"optim.rate_groups has {pattern!r}, which is no regular expression "
      f"({error}); {wanted}"
    ) from None
  if not 0 <= multiplier < math.inf:
    raise ConfigError(
      f"optim.rate_groups has multiplier {multiplier} for {pattern!r}; wanted "
      "0 (frozen) or more"
    )
  return compiled, float(multiplier)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings(Settings):
  """The settings of every run, whatever its task.

  The same command goes on where the run stopped (docs/reliability.md).
  """

  # JAX takes more bits, and makes one key of seeds that differ in those alone.
  seed: int = setting(
    0,
    "seed of parameters, example order, mismatches, masks and dropout",
    low=0,
    high=2**32 - 1,
  )
  language: str = setting("en", "language of the texts, noted in results")
  resume_step: int | None = setting(
    None, "step to go on from, instead of the newest checkpoint", low=0
  )
  restart: bool = setting(
    False, "move what the workdir holds aside and begin again"
  )
  allow_changes: tuple[str, ...] = setting(
    (),
    "settings, or beginnings of their names, that may differ from those of "
    "the checkpoint: ('optim.lr',); some always may",
  )
  debug: bool = setting(
    False,
    "an error shows where it came from, and the first number that is not "
    "finite is one: sets jax_debug_nans and train.max_skipped=1; slow",
  )
  init_from: str = setting(
    "",
    "weights to start from (docs/weights.md): a checkpoint's step directory, "
    "an exported folder, a Hugging Face BERT, official weights; empty or "
    "random for none; the workdir's own checkpoint goes first",
  )
  init: InitSettings = setting(InitSettings, "how init_from is read")
  train: TrainSettings = setting(TrainSettings, "length and steps of the run")
  optim: OptimSettings = setting(OptimSettings, "the optimiser")
  parallel: ParallelSettings = setting(
    ParallelSettings, "how a step runs on several devices"
  )
  checkpoint: CheckpointSettings = setting(
    CheckpointSettings, "which steps are kept"
  )
  evals: EvalSettings = setting(EvalSettings, "evaluation as the run trains")
  data_checks: str = setting(
    "error",
    "what an error in the sample of the data that is checked first leads to: "
    "error, warn or off (python -m input_pipeline.check looks at all of it)",
    choices=("error", "warn", "off"),
  )
