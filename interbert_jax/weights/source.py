"""What can start a run, found out from its content, and its tensors.

Four formats: a `checkpoint` of ours (a step directory), an `export` folder or
its safetensors file, `official` InterBERT weights, and any Hugging Face `bert`.
The last three are a weights file or a directory with one in it.
"""

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from interbert_jax.contract.errors import CheckpointError, ConfigError
from interbert_jax.weights.weights_file import read_weights

FORMATS = ("checkpoint", "export", "official", "bert")
WORDS = "embeddings.word_embeddings.weight"
_EXPORTED_WORDS = "encoder.text_embeddings.word_embeddings.embedding"
# In the order in which a directory is searched for them.
_USUAL_NAMES = ("model.safetensors", "pytorch_model.bin")
_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".npz")


@dataclasses.dataclass(frozen=True)
class Source:
  """Tensors under our paths, each with its name in the file, and facts.

  Attributes:
    values: our path -> (name there, array).
    unused: name there -> why no parameter is made of it.
    missing: prefixes of our paths -> why such weights cannot have them.
    notes: for the report.
    is_whole: its encoder must fill the model's; a BERT fills a part.
    vocab_sha256: of the vocabulary, where the weights record it.
    model: fields of the model that were recorded with the weights.
  """

  values: Mapping[str, tuple[str, np.ndarray]]
  unused: Mapping[str, str] = dataclasses.field(default_factory=dict)
  missing: Mapping[str, str] = dataclasses.field(default_factory=dict)
  notes: tuple[str, ...] = ()
  is_whole: bool = True
  vocab_sha256: str | None = None
  model: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def is_checkpoint(path: pathlib.Path) -> bool:
  return (path / "params").is_dir()


def find_weights(path: pathlib.Path) -> pathlib.Path:
  """The weights file that `path` is or holds."""
  if path.is_file():
    return path
  if not path.is_dir():
    raise CheckpointError(f"{path}: no such file or directory; check init_from")
  for name in _USUAL_NAMES:
    if (path / name).is_file():
      return path / name
  found = sorted(p.name for p in path.iterdir() if p.suffix in _SUFFIXES)
  if len(found) == 1:
    return path / found[0]
  if found:
    raise CheckpointError(
      f"{path}: holds several weights files, {found[:5]}; name one of them"
    )
  steps = sorted(
    int(p.parent.name)
    for pattern in ("*/params", "checkpoints/*/params")
    for p in path.glob(pattern)
    if p.parent.name.isdigit()
  )
  if steps:
    folder = path if path.name == "checkpoints" else path / "checkpoints"
    raise CheckpointError(
      f"{path}: holds checkpoints of steps {steps}; name one of them, such as "
      f"{folder / str(steps[-1])}"
    )
  raise CheckpointError(
    f"{path}: no weights here; wanted a checkpoint's step directory (with "
    f"'params' in it), or a directory with {' or '.join(_USUAL_NAMES)}; found "
    f"{sorted(p.name for p in path.iterdir())[:8]}"
  )


def read_tensors(path: pathlib.Path) -> dict[str, np.ndarray]:
  try:
    return read_weights(path)
  except ValueError as error:
    raise CheckpointError(str(error)) from error


def guess_format(names: Iterable[str], path: pathlib.Path) -> str:
  """Says by its tensors' names what a weights file is."""
  names = set(names)
  if _EXPORTED_WORDS in names or f"pretraining.{_EXPORTED_WORDS}" in names:
    return "export"
  if any(name.startswith("bert.v_embeddings.") for name in names):
    return "official"
  if WORDS in names or f"bert.{WORDS}" in names:
    return "bert"
  raise CheckpointError(
    f"{path}: neither our weights nor official InterBERT's nor a BERT's: no "
    f"tensor is called {WORDS}, with or without 'bert.' before it; found "
    f"{len(names)} names, such as {sorted(names)[:5]}"
  )


def check_format(format: str) -> None:
  if format not in ("auto", *FORMATS):
    raise ConfigError(
      f"init.format is {format!r}; wanted auto or one of {FORMATS}"
    )
