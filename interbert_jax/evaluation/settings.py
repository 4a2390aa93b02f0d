"""When and how a run is evaluated as it trains: `config.evals`."""

import dataclasses
from typing import ClassVar

from interbert_jax.contract.settings import Settings, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalSettings(Settings):
  section: ClassVar[str] = "evals"

  every: int = setting(
    1000, "steps between two evaluations; 0 for one at the end", low=0
  )
  split: str = setting("val", "split to evaluate on, as the files call it")
  batch_size: int = setting(
    512, "examples evaluated at once, over all devices", low=1
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RetrievalEvals(EvalSettings):
  """Settings of tasks that are evaluated by retrieval too."""

  retrieval_images: int = setting(
    100,
    "images of the split, the first ones, for retrieval; 0 for no retrieval",
    low=0,
  )
  pairs_per_step: int = setting(
    512, "pairs of text and image scored at once, over all devices", low=1
  )
