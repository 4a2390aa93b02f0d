"""Which steps of a run are kept: `config.checkpoint`."""

import dataclasses
import re
from collections.abc import Iterator
from typing import ClassVar

from interbert_jax.contract.settings import Settings, setting

# Metrics of which the smallest value is the best, and some of the others.
_FALLS = re.compile(r"loss|error|rank|perplexity")
_RISES = re.compile(r"accuracy|recall|rsum|score|->")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointSettings(Settings):
  section: ClassVar[str] = "checkpoint"

  save_every: int = setting(1000, "steps between two checkpoints", low=1)
  keep_latest: int = setting(
    2, "how many of the newest checkpoints are kept", low=1
  )
  best_metric: str = setting(
    "val/loss",
    "evaluation metric whose best step is kept as well; empty for none",
  )
  best_mode: str | None = setting(
    None,
    "whether the largest or the smallest value is the best, max or min; None: "
    "min of losses, errors, ranks and perplexities, max of all else",
    choices=("max", "min"),
  )

  def check(self) -> Iterator[str]:
    """A metric whose better end everybody knows must not be turned around."""
    name = self.best_metric.rpartition("/")[2]
    known = (
      "min" if _FALLS.search(name) else "max" if _RISES.search(name) else ""
    )
    if known and self.best_mode not in (None, known):
      yield (
        f"checkpoint.best_mode is {self.best_mode!r}, but of "
        f"checkpoint.best_metric {self.best_metric!r} the best is the {known}; "
        "leave best_mode out"
      )

  @property
  def sign(self) -> int:
    """1 where larger is better, -1 where smaller is."""
    name = self.best_metric.rpartition("/")[2]
    mode = self.best_mode or ("min" if _FALLS.search(name) else "max")
    return -1 if mode == "min" else 1
