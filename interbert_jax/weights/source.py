"""The weights that a run can start from: their kind, tensors and facts.

Four formats: a `checkpoint` of ours (a step directory), an `export` folder or
its safetensors file, `official` InterBERT weights, and any Hugging Face `bert`.
The last three are a weights file or a directory with one in it.
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from etils import epath

from interbert_jax.contract.errors import CheckpointError, ConfigError
from interbert_jax.model.config import InterBertConfig

WORDS = "embeddings.word_embeddings.weight"
_EXPORTED_WORDS = "encoder.text_embeddings.word_embeddings.embedding"
# Searched for in a directory in this order.
_USUAL_NAMES = ("model.safetensors", "pytorch_model.bin")
_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".npz")


@dataclasses.dataclass(frozen=True)
class WeightsSource:
  """Tensors under our paths, each with its name in the file, and facts.

  Attributes:
    values: our path -> (name there, array).
    unused: name there -> why no parameter is made of it.
    missing: prefixes of our paths -> why such weights cannot have them.
    notes: for the report.
    is_whole: whether it must fill the whole trunk; a BERT fills a part.
    vocab_sha256: of the vocabulary, where the weights record it.
    model: the model that was recorded with the weights.
  """

  values: Mapping[str, tuple[str, np.ndarray]]
  unused: Mapping[str, str] = dataclasses.field(default_factory=dict)
  missing: Mapping[str, str] = dataclasses.field(default_factory=dict)
  notes: tuple[str, ...] = ()
  is_whole: bool = True
  vocab_sha256: str | None = None
  model: InterBertConfig | None = None


def current_name(name: str) -> str:
  """The name of a tensor of an export, also of one from before.

  Downstream models once had the pretraining model inside of them.
  """
  return name.removeprefix("pretraining.")


def beside(path: pathlib.Path, name: str) -> pathlib.Path | None:
  """A file in the directory of the weights, if it is there."""
  file = (path if path.is_dir() else path.parent) / name
  return file if file.is_file() else None


def is_checkpoint(path: pathlib.Path) -> bool:
  return (path / "params").is_dir()


def check_place(path: str) -> None:
  """Refuses a path where no weights are, before anything is read."""
  if not is_checkpoint(epath.Path(path)):
    find_weights(pathlib.Path(path))


def find_weights(path: pathlib.Path) -> pathlib.Path:
  """The weights file that `path` is or holds."""
  if path.is_file():
    return path
  if not path.is_dir():
    raise CheckpointError(f"{path}: no such file or directory; check init_from")
  for name in _USUAL_NAMES:
    if (path / name).is_file():
      return path / name
  files = sorted(p.name for p in path.iterdir() if p.suffix in _SUFFIXES)
  if len(files) == 1:
    return path / files[0]
  if files:
    raise CheckpointError(
      f"{path}: holds several weights files, {files[:5]}; name one of them"
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


def guess_format(names: Iterable[str], path: pathlib.Path) -> str:
  """Says by its tensors' names what a weights file is."""
  names = set(names)
  if _EXPORTED_WORDS in map(current_name, names):
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


# Names of each group on the screen; init_report.json has all of them.
_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class InitReport:
  """Three groups: every parameter is in one of the first two.

  Attributes:
    path: where the weights are.
    format: what they are, one of `settings.FORMATS`.
    loaded: our path -> the name in the file.
    random: our path -> why it starts at random.
    unused: name in the file -> why nothing took it.
    notes: what could not be checked, and what differs by choice.
  """

  path: str
  format: str
  loaded: dict[str, str]
  random: dict[str, str]
  unused: dict[str, str]
  notes: tuple[str, ...] = ()

  def __str__(self) -> str:
    return f"{self.path} ({self.format})"

  def lines(self) -> list[str]:
    """Counts and first names, for people."""
    lines = [f"weights: {len(self.loaded)} tensors loaded from {self}"]
    for title, group in (
      ("start at random", self.random),
      ("in the file are unused", self.unused),
    ):
      if group:
        first = ", ".join(list(group)[:_SHOWN])
        more = ", ..." if len(group) > _SHOWN else ""
        lines.append(f"  {len(group)} {title}: {first}{more}")
    return lines + [f"  note: {note}" for note in self.notes]

  def to_json(self) -> dict[str, Any]:
    groups = ("loaded", "random", "unused")
    counts = {name: len(getattr(self, name)) for name in groups}
    return {"counts": counts, **dataclasses.asdict(self)}


def vocab_forms(path: pathlib.Path) -> dict[str, bytes]:
  """By its sha256 the file, then without and with one final newline."""
  data = path.read_bytes()
  bare = data.removesuffix(b"\n")
  return {
    hashlib.sha256(form).hexdigest(): form
    for form in (data, bare, bare + b"\n")
  }


def check_words(path: pathlib.Path, size: int, *, name: str) -> str:
  """Refuses a vocabulary of another size; returns the sha256 of the file.

  Args:
    path: one word a line.
    size: words of the model.
    name: what names the path, for messages.
  """
  if not path.is_file():
    raise CheckpointError(f"{name}={path}: no such file; check the path")
  data = path.read_bytes()
  found = data.removesuffix(b"\n").count(b"\n") + 1
  if found != size:
    raise CheckpointError(
      f"{name}={path}: has {found} lines, the model {size} words; name the "
      "vocabulary that it was trained with"
    )
  return hashlib.sha256(data).hexdigest()


def check_vocabulary(
  path: pathlib.Path,
  *,
  wanted: str | None,
  recorded: str | None,
  file: str,
) -> str | None:
  """Refuses weights of another vocabulary.

  Args:
    path: the weights, a file or a directory.
    wanted: sha256 of the vocabulary in use.
    recorded: sha256 that was kept with the weights.
    file: the vocabulary of the weights, or empty: then the recorded hash
      counts, and where there is none, a vocab.txt beside the weights.

  Returns:
    What could not be checked, or None.
  """
  if file:
    named = pathlib.Path(file)
    if not named.is_file():
      raise ConfigError(f"init.vocab={file}: no such file; check the path")
    name, hashes = file, (*vocab_forms(named),)
  elif recorded:
    name, hashes = f"the vocabulary of {path}", (recorded,)
  else:
    near = beside(path, "vocab.txt")
    if near is None:
      return (
        f"no vocab.txt beside {path} and no hash in it: only the number of "
        "words was compared; name its vocabulary with init.vocab"
      )
    name, hashes = str(near), (*vocab_forms(near),)
  if not wanted:
    return "the vocabulary in use has no known hash: only its size was compared"
  if wanted not in hashes:
    raise CheckpointError(
      f"{name} has sha256 {hashes[0][:12]}, input.vocab has {wanted[:12]}: "
      "the same ids would be other words; train with the vocabulary of the "
      "weights, or start from weights of yours"
    )
  return None
