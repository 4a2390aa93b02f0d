"""VCR: answers and rationales of questions about images."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from configs.common import Experiment
from input_pipeline.build import build
from input_pipeline.tasks.vcr import VcrData, check_objectives
from interbert_jax.app import build as experiment
from interbert_jax.evaluation.evaluators import Evaluator
from interbert_jax.evaluation.vcr import NAMES, VcrEvaluator
from interbert_jax.evaluation.vcr_metrics import BOTH
from interbert_jax.model.config import InterBertConfig
from interbert_jax.parallel import Parallel
from interbert_jax.tasks.vcr import VcrTask


def data(
  settings: Experiment,
  split: str,
  *,
  objectives: Sequence[str] | None = None,
) -> VcrData:
  section = dataclasses.asdict(settings.input)
  del section["train_split"]
  if objectives is not None:
    section["objectives"] = tuple(objectives)
  return build("vcr", split=split, seed=settings.seed, **section)


def task(
  settings: Experiment,
  info: Mapping[str, Any],
  *,
  model: InterBertConfig | None = None,
) -> VcrTask:
  return VcrTask(
    model or experiment.model_config(settings.model, info),
    feature_encoding=info["feature_encoding"],
  )


def evaluator(
  settings: Experiment,
  *,
  task: VcrTask,
  held_out: VcrData,
  parallel: Parallel,
) -> VcrEvaluator:
  predictor = experiment.predictor(
    settings, held_out, task=task, parallel=parallel
  )
  return VcrEvaluator(
    predictor=predictor,
    objectives=held_out.objectives,
    labels=held_out.labels,
  )


def reported(settings: Experiment) -> dict[str, tuple[str, ...]]:
  """Names of the metrics that an evaluation gives, by their prefix."""
  objectives = check_objectives(settings.input.objectives)
  asked = [NAMES[name] for name in objectives if name in NAMES]
  both = (BOTH,) if len(asked) == len(NAMES) else ()
  return {settings.evals.split: ("loss", *asked, *both)}


def evaluators(
  settings: Experiment,
  *,
  task: VcrTask,
  held_out: VcrData,
  parallel: Parallel,
) -> dict[str, Evaluator]:
  """Accuracies of both objectives, and of both together."""
  return {
    settings.evals.split: evaluator(
      settings, task=task, held_out=held_out, parallel=parallel
    )
  }
