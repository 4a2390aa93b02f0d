"""How given weights become parameters to start from: `config.init`."""

import dataclasses
from typing import ClassVar

from interbert_jax.contract.settings import Settings, setting

FORMATS = ("checkpoint", "export", "official", "bert")


@dataclasses.dataclass(frozen=True, kw_only=True)
class InitSettings(Settings):
  section: ClassVar[str] = "init"

  format: str = setting(
    "auto",
    "what the weights are, where their content misleads auto",
    choices=("auto", *FORMATS),
  )
  layers: tuple[int, ...] = setting(
    (),
    "layer of a BERT for each interaction layer and then for each text layer "
    "(-1: random); empty where the BERT has as many as both, in order",
    low=-1,
  )
  region_layers: tuple[int, ...] = setting(
    (), "layer of a BERT for each region layer; empty for random ones", low=-1
  )
  vocab: str = setting(
    "", "vocabulary of the weights; empty for the one kept with them"
  )
  skip: tuple[str, ...] = setting(
    (),
    "beginnings of paths of parameters that start at random all the same, "
    "such as region_head/decoder for other region classes",
  )
  ema: bool = setting(
    False, "take the moving average of a checkpoint, not its parameters"
  )
