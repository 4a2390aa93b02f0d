"""Fine-tuning for retrieval: captions with candidates beside their image."""

from collections.abc import Mapping
from typing import Any

from configs.common import Experiment
from input_pipeline.tasks.retrieval import CandidateData
from interbert_jax.app import build as experiment
from interbert_jax.contract.errors import ConfigError
from interbert_jax.evaluation.evaluators import Evaluator
from interbert_jax.model.config import InterBertConfig
from interbert_jax.parallel import Parallel
from interbert_jax.tasks.retrieval import RetrievalTask


def data(settings: Experiment, split: str) -> CandidateData:
  return CandidateData(
    settings.input, split=split, **experiment.host_options(settings)
  )


def task(
  settings: Experiment,
  info: Mapping[str, Any],
  *,
  model: InterBertConfig | None = None,
) -> RetrievalTask:
  return RetrievalTask(
    model or experiment.model_config(settings.model, info),
    settings.task,
    feature_encoding=info["feature_encoding"],
  )


def check(settings: Experiment) -> None:
  """Refuses a run that is not evaluated: retrieval is its only evaluation."""
  if settings.evals.retrieval_images < 1:
    raise ConfigError("evals.retrieval_images is 0; wanted 1 or more")


def evaluators(
  settings: Experiment,
  *,
  task: RetrievalTask,
  held_out: CandidateData,
  parallel: Parallel,
) -> dict[str, Evaluator]:
  """Retrieval over some images; all pairs, both directions."""
  del held_out
  split = settings.evals.split
  found, _ = experiment.retrieval_evaluator(
    settings,
    split,
    model=task.config,
    score=task.heads,
    parallel=parallel,
    max_images=settings.evals.retrieval_images,
  )
  return {split: found}
