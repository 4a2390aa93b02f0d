"""Fine-tuning for retrieval: captions with candidates beside their image."""

from collections.abc import Mapping
from typing import Any

from input_pipeline.build import build
from input_pipeline.tasks.retrieval import CandidateData
from interbert_jax.app import build as experiment
from interbert_jax.contract.settings import read
from interbert_jax.evaluation.evaluators import Evaluator
from interbert_jax.model.config import InterBertConfig
from interbert_jax.parallel import Parallel
from interbert_jax.tasks.retrieval import SCORES, RetrievalTask
from interbert_jax.tasks.settings import RetrievalSettings


def data(config: Mapping[str, Any], split: str) -> CandidateData:
  section = dict(config["input"])
  if split != section.pop("train_split"):
    # Near images were mined of the training split.
    section.update(stage_dir="", near_images="", hard_texts=0)
  return build(
    "candidates", split=split, **section, **experiment.host_options(config)
  )


def task(
  config: Mapping[str, Any],
  info: Mapping[str, Any],
  *,
  model: InterBertConfig | None = None,
) -> RetrievalTask:
  return RetrievalTask(
    model or experiment.model_config(config["model"], info),
    read(RetrievalSettings, config["task"]),
    feature_encoding=info["feature_encoding"],
  )


def evaluators(
  config: Mapping[str, Any],
  *,
  task: RetrievalTask,
  held_out: CandidateData,
  parallel: Parallel,
) -> dict[str, Evaluator]:
  """Retrieval over some images; all pairs, both directions."""
  del held_out
  split = config["evals"]["split"]
  found, _ = experiment.retrieval_evaluator(
    config,
    split,
    model=task.config,
    score=SCORES[task.loss],
    parallel=parallel,
    max_images=config["evals"]["retrieval_images"],
  )
  return {split: found}
