"""A finished or running workdir, opened for evaluation."""

import dataclasses
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from interbert_jax.app import build
from interbert_jax.app.overrides import change_config
from interbert_jax.app.validate import read_experiment
from interbert_jax.checkpoints.checkpoints import Checkpoints
from interbert_jax.contract import json_file
from interbert_jax.contract.errors import CheckpointError, ConfigError
from interbert_jax.evaluation.results import params_fingerprint, write_result
from interbert_jax.model.config import InterBertConfig, recorded_model
from interbert_jax.parallel import Parallel
from interbert_jax.run.environment import redact_config
from interbert_jax.run.workdir import local_path
from interbert_jax.tasks.base import Task
from interbert_jax.weights.export_folder import is_export, load_export

# How a model is computed; all else of it is the checkpoint's.
_FREE = ("dtype", "remat")
# What these hold is known by a fingerprint, wherever they lie.
_BY_CONTENT = ("store", "annotations", "vocab")

# The scripts that evaluate a run of a task; of others it is eval_task.py.
_SCRIPTS = {
  "pretrain": ("eval_pretrain.py", "eval_retrieval.py"),
  "retrieval": ("eval_retrieval.py",),
}


def read_run_config(workdir: str | pathlib.Path) -> dict[str, Any]:
  """The configuration that a workdir was trained with."""
  path = pathlib.Path(workdir) / "config.json"
  if not path.is_file():
    raise ConfigError(
      f"{path}: not found; --workdir must name a run of main.py"
    )
  return json_file.read_object(path)


class TrainedRun:
  """Configuration and parameters of one checkpoint of a workdir.

  `ema` chooses the moving average; None takes it where there is one.
  """

  def __init__(
    self,
    workdir: str,
    *,
    checkpoint: str,
    changes: list[str],
    ema: bool | None = None,
  ):
    self.began = time.monotonic()
    self.workdir = local_path(workdir, name="--workdir")
    self.config = change_config(read_run_config(self.workdir), changes)
    self.settings = read_experiment(self.config)
    exported = pathlib.Path(checkpoint)
    if is_export(exported):
      self.params, self.meta = load_export(exported)
      self.step, self.source = self.meta.get("step", 0), exported
      self.ema = self.meta.get("ema", False)
    else:
      self._load_step(checkpoint, ema)
    self.model = self._model(changes)
    self.fingerprint = params_fingerprint(self.params)
    self.selection = checkpoint

  def _load_step(self, checkpoint: str, ema: bool | None) -> None:
    folder = self.workdir / "checkpoints"
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

  def _model(self, changes: Sequence[str]) -> InterBertConfig:
    """The checkpoint's model, computed as --set=model.dtype wants it."""
    model = recorded_model(self.meta.get("model"), path=self.source)
    names = [
      change.partition("=")[0].removeprefix("model.")
      for change in changes
      if change.startswith("model.")
    ]
    if fixed := [name for name in names if name not in _FREE]:
      raise ConfigError(
        f"--set=model.{fixed[0]}: {self.source} has a model of its own, which "
        f"is evaluated; wanted a setting of {', '.join(_FREE)}"
      )
    chosen = {name: getattr(self.settings.model, name) for name in names}
    return dataclasses.replace(model, **chosen)

  def score_facts(self, **data: str) -> dict[str, Any]:
    """All that the scores of this run depend on, as JSON.

    Args:
      **data: fingerprints of what is scored.
    """
    config = self.config.to_dict()
    return {
      "checkpoint_fingerprint": self.fingerprint,
      "vocab_sha256": self.meta["vocab_sha256"],
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
    if sha256 != self.meta["vocab_sha256"]:
      raise CheckpointError(
        f"{path} (sha256 {sha256[:12]}) is not the vocabulary of the "
        f"checkpoint (sha256 {self.meta['vocab_sha256'][:12]})"
      )

  def task(self, info: Mapping[str, Any]) -> Task:
    """The run's task on the checkpoint's model, for data of its vocabulary."""
    self.check_vocabulary(info["vocab_sha256"], self.settings.input.vocab)
    return build.make_task(self.settings, info, self.model)

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
      vocab_sha256=self.meta["vocab_sha256"],
      seconds=round(time.monotonic() - self.began, 2),
      config=redact_config(self.config.to_dict()),
      **facts,
    )
