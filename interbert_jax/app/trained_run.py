"""One checkpoint with its settings, opened for evaluation."""

import dataclasses
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from configs.common import TASKS, base_config
from interbert_jax.app import build
from interbert_jax.app.overrides import change_config
from interbert_jax.app.validate import read_experiment
from interbert_jax.checkpoints.checkpoints import STEPS, Checkpoints
from interbert_jax.checkpoints.params import load_params
from interbert_jax.contract import json_file
from interbert_jax.contract.errors import CheckpointError, ConfigError
from interbert_jax.evaluation.results import params_fingerprint, write_result
from interbert_jax.model.config import (
  COMPUTED_BY,
  InterBertConfig,
  recorded_model,
)
from interbert_jax.model.heads import HEADS, LinearHead
from interbert_jax.parallel import Parallel
from interbert_jax.run.environment import redact_config
from interbert_jax.run.workdir import local_path
from interbert_jax.tasks.base import Task
from interbert_jax.tasks.settings import SCORES
from interbert_jax.weights.export_folder import is_export, load_export
from interbert_jax.weights.source import check_words, is_checkpoint

# What these hold is known by a fingerprint, wherever they lie.
_BY_CONTENT = ("store", "annotations", "vocab")
_DATA = {"store", "annotations", "directory"}

# The scripts that evaluate a run of a task; of others it is eval_task.py.
_SCRIPTS = {
  "pretrain": ("eval_pretrain.py", "eval_retrieval.py"),
  "retrieval": ("eval_retrieval.py",),
}


def read_run_config(workdir: str | pathlib.Path) -> dict[str, Any]:
  """The configuration that a workdir was trained with."""
  workdir = pathlib.Path(workdir)
  path = workdir / "config.json"
  if is_export(workdir) or is_checkpoint(workdir):
    raise ConfigError(
      f"--workdir={workdir}: holds weights, and no run; give them to "
      "--checkpoint, with --workdir of a run or a --config such as "
      "configs/finetune_flickr30k.py"
    )
  if not path.is_file():
    raise ConfigError(
      f"{path}: not found; --workdir must name a run of main.py (weights alone "
      "are evaluated with --checkpoint=PATH and a --config such as "
      "configs/finetune_flickr30k.py)"
    )
  return json_file.read_object(path)


def _exported_config(folder: pathlib.Path, *, has_data: bool) -> dict[str, Any]:
  """The settings in an exported folder, and its vocabulary."""
  settings = json_file.read_object(folder / "config.json").get("settings")
  task = settings.get("task") if isinstance(settings, Mapping) else None
  if not isinstance(task, Mapping) or task.get("name") not in list(TASKS):
    raise ConfigError(
      f"{folder / 'config.json'}: names no task (older exports do not); add "
      "--workdir of its run, or a --config such as "
      "configs/finetune_flickr30k.py"
    )
  config = base_config(task["name"]).to_dict()
  for section in ("task", "input"):
    if isinstance(known := settings.get(section), Mapping):
      config[section].update(known)
  config["input"]["vocab"] = str(folder / "vocab.txt")
  if not has_data:
    for key in _DATA & set(config["input"]):
      config["input"][key] = "(none)"
  config["train"]["epochs"] = 1.0  # no run lacks a length; nothing is trained
  config["language"] = settings.get("language", config["language"])
  return config


class TrainedRun:
  """Parameters of one checkpoint, and settings to evaluate them with.

  Args:
    workdir: of the run that trained them; None where `config` is given, or
      where the checkpoint is an exported folder, which has its settings.
    checkpoint: latest, best, a step of the run, or the path of an exported
      folder or of a step's directory.
    changes: SECTION.KEY=VALUE, typed.
    ema: chooses the moving average; None takes it where there is one.
    config: settings for weights without a run.
    typed: keys of `config` that were typed beside it.
    has_data: False where nothing but the model is asked for; an exported
      folder names no data.
  """

  def __init__(
    self,
    workdir: str | None,
    *,
    checkpoint: str,
    changes: list[str],
    ema: bool | None = None,
    config: Mapping[str, Any] | None = None,
    typed: Sequence[str] = (),
    has_data: bool = True,
  ):
    self.began = time.monotonic()
    # As it was opened, for processes that open it too.
    self.arguments = {
      "workdir": None if workdir is None else str(workdir),
      "checkpoint": checkpoint,
      "changes": changes,
      "ema": ema,
      "config": config,
      "typed": typed,
      "has_data": has_data,
    }
    path = pathlib.Path(checkpoint)
    if workdir is not None:
      self.workdir = local_path(workdir, name="--workdir")
      config = read_run_config(self.workdir)
    elif is_export(path):
      self.workdir = path.absolute()
      config = config or _exported_config(path, has_data=has_data)
    elif config is None:
      raise ConfigError(
        f"--checkpoint={checkpoint}: no exported folder with its settings; add "
        "--workdir of its run, or a --config such as "
        "configs/finetune_flickr30k.py"
      )
    elif path.is_dir():
      path = path.absolute()
      steps = path.parent
      self.workdir = steps.parent if steps.name == STEPS else steps
    else:
      raise ConfigError(
        f"--checkpoint={checkpoint}: with --config it must name weights: an "
        "exported folder, or a step's directory as convert_torch writes it"
      )
    self.config = change_config(config, changes)
    self.settings = read_experiment(self.config)
    if is_export(path):
      self.params, self.meta = load_export(path)
      self.step, self.source = self.meta.get("step", 0), path
      self.ema = self.meta.get("ema", False)
    elif path.is_dir():
      self.ema = (path / "ema").is_dir() if ema is None else ema
      self.params, self.meta = load_params(
        path, "ema" if self.ema else "params"
      )
      self.step, self.source = self.meta.get("step", 0), path
    else:
      self._load_step(checkpoint, ema)
    names = [change.partition("=")[0] for change in changes]
    self.model = self._model([*names, *typed])
    self.vocab_sha256 = self._vocabulary()
    self.fingerprint = params_fingerprint(self.params)
    self.selection = checkpoint

  def _load_step(self, checkpoint: str, ema: bool | None) -> None:
    folder = self.workdir / STEPS
    with Checkpoints(
      folder, self.settings.checkpoint, create=False
    ) as checkpoints:
      self.step = checkpoints.choose(checkpoint)
      # As in training: the moving average, where the run keeps one.
      self.ema = checkpoints.has_ema(self.step) if ema is None else ema
      self.params, self.meta = checkpoints.load_params(
        self.step, "ema" if self.ema else "params"
      )
    self.source = folder / str(self.step)

  def _model(self, typed: Sequence[str]) -> InterBertConfig:
    """The checkpoint's model, computed as a typed model.dtype wants it."""
    model = recorded_model(self.meta.get("model"), path=self.source)
    names = [
      key.removeprefix("model.") for key in typed if key.startswith("model.")
    ]
    if fixed := [name for name in names if name not in COMPUTED_BY]:
      raise ConfigError(
        f"model.{fixed[0]}: {self.source} has a model of its own, which "
        f"is evaluated; wanted a setting of {', '.join(COMPUTED_BY)}"
      )
    chosen = {name: getattr(self.settings.model, name) for name in names}
    return dataclasses.replace(model, **chosen)

  def _vocabulary(self) -> str:
    """The sha256 of the vocabulary that the weights are for.

    Official weights record none: then it is that of the settings, if it has as
    many words.
    """
    if sha256 := self.meta.get("vocab_sha256"):
      return sha256
    path = pathlib.Path(self.settings.input.vocab)
    if not path.is_file():
      raise ConfigError(f"input.vocab={path}: no such file; check the path")
    sha256 = check_words(path, self.model.vocab_size, name="input.vocab")
    print(
      f"{self.source}: records no vocabulary: only the number of words of "
      f"{path} was compared",
      file=sys.stderr,
    )
    return sha256

  def check_heads(self, heads: Mapping[str, int]) -> None:
    """Refuses weights without the heads that an evaluation reads."""
    problems = []
    for name, outputs in heads.items():
      if (head := self.params.get(name)) is None:
        problems.append(f"has no {name}")
      elif HEADS[name].module is LinearHead:
        found = len(head["dense"]["bias"])
        if found != outputs:
          problems.append(f"has {found} outputs of {name}, wanted {outputs}")
    if problems:
      there = sorted(set(self.params) - {"encoder"})
      raise CheckpointError(
        f"{self.source}: {'; '.join(problems)} (its heads: {', '.join(there)});"
        " the weights were trained for another task: fine-tune them with "
        "init_from, or choose the configuration of their own task"
      )

  def score_facts(self, **data: str) -> dict[str, Any]:
    """All that the scores of this run depend on, as JSON.

    Args:
      **data: fingerprints of what is scored.
    """
    config = self.config.to_dict()
    return {
      "checkpoint_fingerprint": self.fingerprint,
      "vocab_sha256": self.vocab_sha256,
      "language": config["language"],
      **{f"model.{k}": v for k, v in dataclasses.asdict(self.model).items()},
      **{f"task.{k}": v for k, v in config["task"].items()},
      **{
        f"input.{k}": v
        for k, v in config["input"].items()
        if k not in _BY_CONTENT
      },
      **data,
    }

  def check_script(self, script: str) -> None:
    """Refuses a run of a task that the script does not evaluate."""
    name = self.settings.task.name
    scripts = _SCRIPTS.get(name, ("eval_task.py",))
    if script not in scripts:
      raise ConfigError(
        f"{self.workdir}: a run of task {name!r}; {' or '.join(scripts)} "
        "evaluates it"
      )

  def check_vocabulary(self, sha256: str, path: str) -> None:
    """Ids of another vocabulary would be other words."""
    if sha256 != self.vocab_sha256:
      raise CheckpointError(
        f"{path} (sha256 {sha256[:12]}) is not the vocabulary of the "
        f"checkpoint (sha256 {self.vocab_sha256[:12]})"
      )

  def check_width(self, feature_dim: int | None) -> None:
    """Refuses regions of another width than the model's; texts have none."""
    wanted = self.model.region_feature_dim
    if feature_dim not in (None, wanted):
      raise ConfigError(
        f"{self.settings.input.store}: its regions have {feature_dim} numbers, "
        f"those of {self.source} {wanted}; name the store of its kind "
        "(input.store)"
      )

  def score_head(self) -> Mapping[str, int]:
    """The head that scores a text with an image, which the weights have."""
    task = self.settings.task
    if task.name not in ("pretrain", "retrieval"):
      raise ConfigError(
        f"task.name is {task.name!r}: it has no head that scores a text with "
        "an image; wanted a run of pretrain or retrieval"
      )
    head = SCORES[getattr(task, "loss", "match")]
    self.check_heads(head)
    return head

  def task(self, info: Mapping[str, Any]) -> Task:
    """The run's task on the checkpoint's model, for data of its vocabulary."""
    self.check_vocabulary(info["vocab_sha256"], self.settings.input.vocab)
    self.check_width(info["feature_dim"])
    task = build.make_task(self.settings, info, self.model)
    self.check_heads(task.model.heads)
    return task

  def placed_params(self, parallel: Parallel):
    return parallel.put_replicated(self.params)

  def write(
    self,
    output: str | None,
    *,
    task: str,
    split: str,
    dataset: str | None = None,
    **facts: Any,
  ) -> pathlib.Path:
    """Writes the result JSON and returns its path.

    `dataset` is by default named as the file of annotations.
    """
    path = pathlib.Path(
      output or self.workdir / "eval" / f"{task}_{split}_{self.step}.json"
    )
    return write_result(
      path,
      task=task,
      split=split,
      dataset=dataset or pathlib.Path(self.config["input"]["annotations"]).stem,
      step=self.step,
      pretrained=str(self.source),
      checkpoint_selection=self.selection,
      checkpoint_fingerprint=self.fingerprint,
      ema=self.ema,
      language=self.config["language"],
      model="interbert",
      model_config=dataclasses.asdict(self.model),
      vocab_sha256=self.vocab_sha256,
      seconds=round(time.monotonic() - self.began, 2),
      config=redact_config(self.config.to_dict()),
      **facts,
    )
