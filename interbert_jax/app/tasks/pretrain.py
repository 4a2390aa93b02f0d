"""Pretraining: captions over a region store, or several of both."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from configs.common import Experiment
from input_pipeline.batches.reader import BatchReader
from input_pipeline.tasks.pretrain import PretrainData
from interbert_jax.app import build
from interbert_jax.evaluation.evaluators import Evaluator
from interbert_jax.model.config import InterBertConfig
from interbert_jax.parallel import Parallel, is_main_process
from interbert_jax.ranking.retrieval_metrics import metric_names
from interbert_jax.tasks.pretrain import PretrainTask

if TYPE_CHECKING:  # training needs nothing of a report
  from interbert_jax.app.eval_settings import PretrainReport
  from interbert_jax.app.trained_run import TrainedRun


def data(settings: Experiment, split: str) -> BatchReader:
  """The pairs of one split; training goes through all corpora."""
  training = split == settings.input.train_split
  reading = {
    "class_probs": settings.task.mrm_loss != "features",
    "whole_words": settings.task.text_masking.whole_word,
    **build.host_options(settings),
  }
  if training and settings.input.corpora:
    from input_pipeline.tasks.mixture import Mixture

    return Mixture(settings.input, **reading)
  return PretrainData(settings.input, split=split, **reading)


def task(
  settings: Experiment, info: Mapping[str, Any], model: InterBertConfig
) -> PretrainTask:
  return PretrainTask(
    model,
    settings.task,
    mask_id=info["mask_id"],
    feature_encoding=info["feature_encoding"],
  )


def reported(settings: Experiment) -> dict[str, tuple[str, ...]]:
  """Names of the metrics that an evaluation gives, by their prefix."""
  split = settings.evals.split
  target = settings.task.region_target
  names = ["loss", "mlm_loss", "mlm_acc", "itm_loss", "itm_acc", "mrm_loss"]
  names += ["mrm_acc"] if target != "features" else []
  names += ["mrm_feature_loss"] if target == "both" else []
  names += ["itc_loss", "itc_acc"] if settings.task.itc_weight else []
  by_prefix = {split: tuple(names)}
  if settings.evals.retrieval_images:
    by_prefix[f"{split}_retrieval"] = metric_names()
  return by_prefix


def evaluators(
  settings: Experiment,
  *,
  task: PretrainTask,
  held_out: PretrainData,
  parallel: Parallel,
) -> dict[str, Evaluator]:
  """Held-out losses, and zero-shot retrieval over some images."""
  split = settings.evals.split
  by_prefix: dict[str, Evaluator] = {
    split: build.loss_evaluator(
      settings, held_out, task=task, parallel=parallel
    )
  }
  if settings.evals.retrieval_images:
    by_prefix[f"{split}_retrieval"], _ = build.retrieval_evaluator(
      settings,
      split,
      model=task.config,
      parallel=parallel,
      max_images=settings.evals.retrieval_images,
    )
  return by_prefix


def report(
  run: "TrainedRun", settings: "PretrainReport", parallel: Parallel
) -> dict[str, float]:
  """Held-out losses and accuracies of a run."""
  run.check_script("eval_pretrain.py")
  held_out = data(run.settings, settings.split)
  info = held_out.info
  evaluator = build.loss_evaluator(
    run.settings, held_out, task=run.task(info), parallel=parallel
  )
  params = run.placed_params(parallel)
  metrics = evaluator.run(params)
  if settings.region_accuracy:
    metrics |= region_accuracy(run, settings.split, parallel).run(params)
  if is_main_process():
    path = run.write(
      settings.output,
      task="pretraining",
      split=settings.split,
      metrics=metrics,
      n_images=info["num_images"],
      n_texts=info["num_examples"],
      data_fingerprint=info["fingerprint"],
    )
    print("  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    print(path)
  return metrics


def region_accuracy(
  run: "TrainedRun", split: str, parallel: Parallel
) -> Evaluator:
  """Region classes with and without text, over pairs that match."""
  from interbert_jax.evaluation.region_accuracy import RegionAccuracy

  matching = dataclasses.replace(run.settings.input, mismatch_prob=0.0)
  settings = dataclasses.replace(run.settings, input=matching)
  pairs = data(settings, split)
  return RegionAccuracy(
    task=run.task(pairs.info),
    parallel=parallel,
    # Its texts are replaced by others.
    batches=build.held_out_batches(
      settings, pairs, parallel=parallel, cut=False
    ),
  )
