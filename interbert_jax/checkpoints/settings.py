"""Which steps of a run are kept: `config.checkpoint`."""

import dataclasses
from typing import ClassVar

from interbert_jax.contract.settings import Settings, setting


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
  best_mode: str = setting(
    "min",
    "whether the best metric is the largest or the smallest: max or min",
    choices=("max", "min"),
  )
