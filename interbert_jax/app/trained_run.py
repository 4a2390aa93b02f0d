"""A finished or running workdir, opened for evaluation."""

import ast
import pathlib
import time
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from interbert_jax.app import build as experiment
from interbert_jax.checkpoints.checkpoints import Checkpoints
from interbert_jax.contract.errors import CheckpointError, ConfigError
from interbert_jax.evaluation.results import params_fingerprint, write_result
from interbert_jax.parallel import Parallel
from interbert_jax.run.redact import redact_config
from interbert_jax.run.workdir import local_path
from interbert_jax.weights.export_folder import is_export, load_export, model_of


def change_config(config: Mapping[str, Any], changes: list[str]) -> ConfigDict:
  """Applies key=value changes to a configuration, refusing unknown keys."""
  changed = ConfigDict(config)
  for change in changes:
    key, equals, value = change.partition("=")
    if not equals:
      raise ConfigError(f"--set={change}: wanted --set=section.key=value")
    *sections, name = key.split(".")
    section: Any = changed
    for part in sections:
      section = section.get(part)
      if not isinstance(section, ConfigDict):
        raise ConfigError(f"--set={change}: no section {part!r}")
    if name not in section:
      raise ConfigError(
        f"--set={change}: no key {name!r}; keys: {sorted(section.keys())}"
      )
    try:
      section[name] = _parse(value, section[name])
    except ValueError as error:
      raise ConfigError(f"--set={change}: {error}") from error
  return changed


def _parse(text: str, old: Any) -> Any:
  """The value that the text stands for, of the type of the old one.

  A key that was empty takes a number or words, whichever the text is.
  """
  if isinstance(old, bool):
    if text.lower() not in ("true", "false"):
      raise ValueError(f"found {text!r}, wanted true or false")
    return text.lower() == "true"
  if isinstance(old, (int, float, str)):
    return type(old)(text)
  try:
    value = ast.literal_eval(text)
  except (ValueError, SyntaxError):
    value = text
  if isinstance(old, (list, tuple)) and not isinstance(value, (list, tuple)):
    raise ValueError(f"found {text!r}, wanted a tuple such as (1, 2)")
  return value


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
    self.config = change_config(
      experiment.read_run_config(self.workdir), changes
    )
    exported = pathlib.Path(checkpoint)
    if is_export(exported):
      self.params, self.meta = load_export(exported)
      self.step, self.source = self.meta.get("step", 0), exported
      self.ema = self.meta.get("ema", False)
    else:
      self._load_step(checkpoint, ema)
    self.model = model_of(self.meta["model"], path=self.source)
    self.fingerprint = params_fingerprint(self.params)
    self.selection = checkpoint

  def _load_step(self, checkpoint: str, ema: bool | None) -> None:
    section = self.config["checkpoint"]
    folder = self.workdir / "checkpoints"
    with Checkpoints(
      folder,
      best_metric=section["best_metric"],
      best_mode=section["best_mode"],
      create=False,
    ) as checkpoints:
      self.step = checkpoints.choose(checkpoint)
      # As in training: the moving average, where the run keeps one.
      self.ema = checkpoints.has_ema(self.step) if ema is None else ema
      self.params, self.meta = checkpoints.load_params(
        self.step, "ema" if self.ema else "params"
      )
    self.source = folder / str(self.step)

  def check_vocabulary(self, sha256: str, path: str) -> None:
    """Ids of another vocabulary would be other words."""
    if sha256 != self.meta["vocab_sha256"]:
      raise CheckpointError(
        f"{path} (sha256 {sha256[:12]}) is not the vocabulary of the "
        f"checkpoint (sha256 {self.meta['vocab_sha256'][:12]})"
      )

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
      model_config=self.meta["model"],
      vocab_sha256=self.meta["vocab_sha256"],
      seconds=round(time.monotonic() - self.began, 2),
      config=redact_config(self.config.to_dict()),
      **facts,
    )
