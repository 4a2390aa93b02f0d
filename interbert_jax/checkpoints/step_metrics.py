"""The metrics of steps, which come after their saves, and the best of them."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from interbert_jax.checkpoints import manifest
from interbert_jax.checkpoints.settings import CheckpointSettings
from interbert_jax.contract import json_file
from interbert_jax.parallel import is_main_process

_FILE = "evaluation.json"
_BEFORE = "metrics/metrics"  # in runs of before, where Orbax wrote them


class StepMetrics:
  """Metrics by step; also the policy of Orbax that keeps the best step.

  Args:
    directory: of all steps.
    settings: the metric that the best step is chosen by, and its mode.
  """

  def __init__(self, directory: pathlib.Path, settings: CheckpointSettings):
    self._directory = directory
    self._metric = settings.best_metric
    self._sign = settings.sign
    self._known: dict[int, Mapping[str, float]] = {}

  def record(self, step: int, metrics: Mapping[str, float]) -> None:
    """Writes the metrics of a step that is saved."""
    known = {name: float(value) for name, value in metrics.items()}
    self._known[step] = known  # the file may reach other hosts late
    if is_main_process():
      folder = self._directory / str(step)
      json_file.write_json(folder / _FILE, known)
      manifest.add_file(folder, _FILE)

  def of(self, step: int) -> Mapping[str, float]:
    """The metrics of a step; none where it was not evaluated."""
    if step not in self._known:
      folder = self._directory / str(step)
      names = manifest.listed(folder).keys() & {_FILE, _BEFORE}
      name = max(names, default="", key=lambda name: name == _FILE)
      whole = name and not manifest.damage(folder, items=name.split("/")[:1])
      self._known[step] = json_file.read_object(folder / name) if whole else {}
    return self._known[step]

  def best(self, steps: Sequence[int]) -> int | None:
    """The step with the best metric, the last of equal ones; None without."""
    if not self._metric:
      return None
    scored = [
      (self._sign * metrics[self._metric], step)
      for step in steps
      if self._metric in (metrics := self.of(step))
    ]
    return max(scored)[1] if scored else None

  def should_preserve(
    self, checkpoints: Sequence[Any], *, context: Any
  ) -> list[bool]:
    """As Orbax asks a PreservationPolicy."""
    del context
    best = self.best([checkpoint.step for checkpoint in checkpoints])
    return [checkpoint.step == best for checkpoint in checkpoints]
