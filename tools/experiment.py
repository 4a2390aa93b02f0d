"""Joins the islands: a configuration becomes data, task and evaluators.

Used by main.py and the eval scripts. Keyword sections of the configuration go
whole to the function that owns them, so that an unknown key fails.
"""

import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import jax

from input_pipeline.build import build
from input_pipeline.mixture import Mixture
from input_pipeline.pretrain import PretrainData
from input_pipeline.retrieval import RetrievalSet
from interbert_jax.config import InterBertConfig, make_config
from interbert_jax.errors import ConfigError
from interbert_jax.evaluators import LossEvaluator, RetrievalEvaluator
from interbert_jax.masking import RegionMasking, TextMasking
from interbert_jax.parallel import Parallel
from interbert_jax.tasks.pretrain import PretrainTask, region_target

_IMAGE_KEYS = ("region_features", "region_boxes", "image_size", "num_regions")
_TEXT_KEYS = ("text_ids", "text_length", "image_of_text")


def pretrain_data(
  config: Mapping[str, Any], split: str
) -> PretrainData | Mixture:
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
    seed=config["seed"],
    class_probs=config["task"]["mrm_loss"] != "features",
    host=(jax.process_index(), jax.process_count()),
  )
  if training and corpora:
    return build("mixture", corpora=corpora, **section)
  return build("pretrain", **section)


def model_config(
  section: Mapping[str, Any], info: Mapping[str, Any], *, region_target: str
) -> InterBertConfig:
  """The model; widths that are not set are taken from the data.

  Raises:
    ConfigError: where a width is set and the data has another.
  """
  changes = dict(section)
  size = changes.pop("size")
  for key, found in (
    ("vocab_size", info["vocab_size"]),
    ("region_feature_dim", info["feature_dim"]),
    ("num_region_classes", info["num_classes"]),
  ):
    if changes[key] is None:
      changes[key] = found
    elif found is not None and changes[key] != found:
      raise ConfigError(
        f"model.{key} is {changes[key]}, but the data has {found}; "
        "leave it out to take the data's"
      )
  return make_config(size, region_target=region_target, **changes)


def pretrain_task(
  config: Mapping[str, Any],
  info: Mapping[str, Any],
  *,
  model: InterBertConfig | None = None,
) -> PretrainTask:
  """The task over this data; `model` is a checkpoint's, where there is one."""
  section = dict(config["task"])
  text_masking = TextMasking(
    mask_id=info["mask_id"], **section.pop("text_masking")
  )
  region_masking = RegionMasking(**section.pop("region_masking"))
  return PretrainTask(
    config=model
    or model_config(
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


def batch_dims(task: PretrainTask, info: Mapping[str, Any]) -> dict[str, int]:
  """The sizes of the letters of the batch contract."""
  return {
    "L": info["max_text_length"],
    "R": info["max_regions"],
    "E": task.config.region_feature_dim,
    "C": info["num_classes"] or 1,
  }


def loss_evaluator(
  config: Mapping[str, Any],
  data,
  *,
  task: PretrainTask,
  parallel: Parallel,
) -> LossEvaluator:
  batch_size = config["evals"]["batch_size"]
  parallel.check_batch_size(batch_size, name="evals.batch_size")

  def batches():
    return data.eval_batches(
      batch_size=batch_size,
      shard_index=jax.process_index(),
      shard_count=jax.process_count(),
    )

  return LossEvaluator(task=task, parallel=parallel, batches=batches)


def retrieval_evaluator(
  config: Mapping[str, Any],
  split: str,
  *,
  model: InterBertConfig,
  parallel: Parallel,
  max_images: int | None = None,
) -> tuple[RetrievalEvaluator, RetrievalSet]:
  section = config["input"]
  found = build(
    "retrieval",
    split=split,
    max_images=max_images,
    **{
      key: section[key]
      for key in (
        "store",
        "annotations",
        "captions",
        "vocab",
        "max_regions",
        "max_text_length",
      )
    },
  )
  evaluator = RetrievalEvaluator(
    config=model,
    parallel=parallel,
    images={key: getattr(found, key) for key in _IMAGE_KEYS},
    texts={key: getattr(found, key) for key in _TEXT_KEYS},
    pairs_per_step=config["evals"]["pairs_per_step"],
  )
  return evaluator, found


def total_steps(config: Mapping[str, Any], num_examples: int) -> int:
  """Steps of the run; exactly one of train.steps and train.epochs is set."""
  section = config["train"]
  if (section["steps"] is None) == (section["epochs"] is None):
    raise ConfigError(
      f"train.steps is {section['steps']} and train.epochs is "
      f"{section['epochs']}; set exactly one of them"
    )
  if section["steps"] is not None:
    steps = section["steps"]
  else:
    steps = math.ceil(section["epochs"] * num_examples / section["batch_size"])
  if steps < 1:
    raise ConfigError(f"the run has {steps} steps; wanted at least 1")
  return steps


def optim_section(
  config: Mapping[str, Any], num_examples: int
) -> dict[str, Any]:
  """The keywords of `optim.make_optimizer`, but for the parameters."""
  epoch = num_examples / config["train"]["batch_size"]
  return {**config["optim"], "steps_per_epoch": epoch}


def read_run_config(workdir: str | pathlib.Path) -> dict[str, Any]:
  """The configuration that a workdir was trained with."""
  path = pathlib.Path(workdir) / "config.json"
  if not path.is_file():
    raise ConfigError(
      f"{path}: not found; --workdir must name a run of main.py"
    )
  try:
    return json.loads(path.read_text(encoding="utf-8"))
  except json.JSONDecodeError as error:
    raise ConfigError(f"{path}: not JSON: {error}") from error
