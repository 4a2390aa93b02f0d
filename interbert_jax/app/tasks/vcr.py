"""VCR: answers and rationales of questions about images."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from configs.common import Experiment
from input_pipeline.tasks.vcr import VcrData
from interbert_jax.app import build as experiment
from interbert_jax.contract.vcr import BOTH, METRICS
from interbert_jax.evaluation.evaluators import Evaluator
from interbert_jax.evaluation.vcr import VcrEvaluator
from interbert_jax.model.config import InterBertConfig
from interbert_jax.parallel import Parallel
from interbert_jax.tasks.vcr import VcrTask


def data(
  settings: Experiment,
  split: str,
  *,
  objectives: Sequence[str] | None = None,
) -> VcrData:
  section = settings.input
  if objectives is not None:
    section = dataclasses.replace(section, objectives=tuple(objectives))
  return VcrData(section, split=split, seed=settings.seed)


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
  asked = [METRICS[o] for o in settings.input.objectives if o in METRICS]
  both = (BOTH,) if len(asked) == len(METRICS) else ()
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
