"""Pretraining: captions over a region store, or several of both."""

from collections.abc import Mapping
from typing import Any

from input_pipeline.build import build
from input_pipeline.tasks.mixture import Mixture
from input_pipeline.tasks.pretrain import PretrainData
from interbert_jax.app import build as experiment
from interbert_jax.app.eval_settings import PretrainReport
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.evaluation.evaluators import Evaluator
from interbert_jax.evaluation.region_accuracy import RegionAccuracy
from interbert_jax.model.config import InterBertConfig
from interbert_jax.parallel import Parallel, is_main_process
from interbert_jax.tasks.masking import RegionMasking, TextMasking
from interbert_jax.tasks.pretrain import PretrainTask, region_target


def data(config: Mapping[str, Any], split: str) -> PretrainData | Mixture:
  """The pairs of one split, as the configuration cuts them.

  Training goes through all corpora, where there are several.
  """
  section = dict(config["input"])
  corpora = section.pop("corpora")
  training = split == section.pop("train_split")
  if not training:
    # Evaluation reads every image once, on any host: a copy gains nothing.
    # Hard captions were mined of the training split.
    section.update(stage_dir="", shares=1, negatives="")
  if not config["task"]["text_masking"]["whole_word"]:
    section["word_boundaries"] = ""
  section.update(
    split=split,
    class_probs=config["task"]["mrm_loss"] != "features",
    **experiment.host_options(config),
  )
  if training and corpora:
    return build("mixture", corpora=corpora, **section)
  return build("pretrain", **section)


def task(
  config: Mapping[str, Any],
  info: Mapping[str, Any],
  *,
  model: InterBertConfig | None = None,
) -> PretrainTask:
  section = dict(config["task"])
  del section["name"]
  text_masking = TextMasking(
    mask_id=info["mask_id"], **section.pop("text_masking")
  )
  region_masking = RegionMasking(**section.pop("region_masking"))
  return PretrainTask(
    config=model
    or experiment.model_config(
      config["model"],
      info,
      region_target=region_target(
        section["mrm_loss"], section["mrm_feature_weight"]
      ),
    ),
    text_masking=text_masking,
    region_masking=region_masking,
    feature_encoding=info["feature_encoding"],
    **section,
  )


def reported(config: Mapping[str, Any]) -> dict[str, None]:
  """Prefixes of the metrics that an evaluation gives."""
  split = config["evals"]["split"]
  if config["evals"]["retrieval_images"]:
    return {split: None, f"{split}_retrieval": None}
  return {split: None}


def evaluators(
  config: Mapping[str, Any],
  *,
  task: PretrainTask,
  held_out: PretrainData,
  parallel: Parallel,
) -> dict[str, Evaluator]:
  """Held-out losses, and zero-shot retrieval over some images."""
  split = config["evals"]["split"]
  found: dict[str, Evaluator] = {
    split: experiment.loss_evaluator(
      config, held_out, task=task, parallel=parallel
    )
  }
  if config["evals"]["retrieval_images"]:
    found[f"{split}_retrieval"], _ = experiment.retrieval_evaluator(
      config,
      split,
      model=task.config,
      parallel=parallel,
      max_images=config["evals"]["retrieval_images"],
    )
  return found


def report(
  run: TrainedRun, settings: PretrainReport, parallel: Parallel
) -> dict[str, float]:
  """Held-out losses and accuracies of a run."""
  held_out = data(run.config, settings.split)
  info = held_out.info
  run.check_vocabulary(info["vocab_sha256"], run.config["input"]["vocab"])
  evaluator = experiment.loss_evaluator(
    run.config,
    held_out,
    task=task(run.config, info, model=run.model),
    parallel=parallel,
  )
  params = run.placed_params(parallel)
  metrics = evaluator.run(params)
  if settings.region_accuracy:
    metrics |= region_accuracy(
      run.config, settings.split, model=run.model, parallel=parallel
    ).run(params)
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
  config: Mapping[str, Any],
  split: str,
  *,
  model: InterBertConfig,
  parallel: Parallel,
) -> RegionAccuracy:
  """Region classes with and without text, over pairs that match."""
  matching = {**config["input"], "mismatch_prob": 0.0}
  config = {**config, "input": matching}
  found = data(config, split)
  return RegionAccuracy(
    task=task(config, found.info, model=model),
    parallel=parallel,
    batches=experiment.held_out_batches(config, found, parallel=parallel),
  )
