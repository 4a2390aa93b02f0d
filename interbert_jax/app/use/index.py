"""Vectors of a catalogue, to find the images that a text may be about.

  interbert index --model=runs/mine --output=data/index

  index.json      what the vectors are of; written last
  vectors.faiss   all vectors, for a search by inner product
  vectors.parquet the same with ids, for a vector database (--parquet)

Until it is whole, parts of it are in a folder beside it, and the same command
goes on where it stopped.

Dimensions: N images, O numbers of a vector, T texts, K images of a text.
"""

import dataclasses
import functools
import pathlib
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from input_pipeline.catalogues.catalogue import Catalogue
from interbert_jax.contract import json_file
from interbert_jax.contract.command import run_command
from interbert_jax.contract.errors import (
  ConfigError,
  DataError,
  import_optional,
)
from interbert_jax.contract.files import whole
from interbert_jax.contract.flags import parse_flags
from interbert_jax.contract.numpy_files import open_npy
from interbert_jax.contract.pipeline import ABOUT, run_with_beam, spelled
from interbert_jax.contract.progress import Progress
from interbert_jax.contract.settings import Settings, setting

FACTS, VECTORS, PARQUET = "index.json", "vectors.faiss", "vectors.parquet"
_KINDS = {"float32": "Flat", "float16": "SQfp16"}  # in faiss' words


@dataclasses.dataclass(frozen=True, kw_only=True)
class IndexSettings(Settings):
  """`interbert index`."""

  model: str = setting(
    dataclasses.MISSING, "A run's workdir, a step of one, or an export."
  )
  output: str = setting(dataclasses.MISSING, "Folder to write.")
  catalogue: str = setting("", "A region store; the run's own by default.")
  items: str = setting("", "A file of items; all images by default.")
  numbers: str = setting(
    "float32",
    "How vectors are kept; float16 needs half the bytes.",
    choices=tuple(_KINDS),
  )
  parquet: bool = setting(False, "Write ids and vectors as Parquet too.")
  part_images: int = setting(4096, "Images computed and kept together.", low=1)
  beam: str | None = setting(None, ABOUT)


class VectorIndex:
  """An index that is whole.

  Args:
    directory: what `interbert index` wrote.
  """

  def __init__(self, directory: str | pathlib.Path):
    self.directory = pathlib.Path(directory)
    path = self.directory / FACTS
    if not path.is_file():
      raise DataError(
        f"has no {FACTS}; wanted what interbert index writes",
        file=self.directory,
      )
    self.facts = json_file.read_object(path)
    faiss = import_optional("faiss", package="faiss-cpu")
    try:
      self._index = faiss.read_index(str(self.directory / VECTORS))
    except RuntimeError as error:
      reason = str(error).splitlines()[-1]
      raise DataError(
        f"cannot be read: {reason}",
        file=self.directory / VECTORS,
        hint="make the index anew",
      ) from None
    if self._index.ntotal != self.facts["count"]:
      raise DataError(
        f"found {self._index.ntotal} vectors, {FACTS} says "
        f"{self.facts['count']}",
        file=self.directory / VECTORS,
        hint="make the index anew",
      )

  def check(self, facts: Mapping[str, Any]) -> None:
    """Refuses vectors of another model or catalogue."""
    for key, value in facts.items():
      if self.facts.get(key) != value:
        raise ConfigError(
          f"{self.directory}: {key} is {self.facts.get(key)!r:.40}, here it is "
          f"{value!r:.40}; make the index anew"
        )

  def nearest(self, vectors_TO: np.ndarray, count: int) -> np.ndarray:
    """[T, K] numbers of the images nearest to each vector, nearest first."""
    count = min(count, self.facts["count"])
    return self._index.search(np.float32(vectors_TO), count)[1]


def index_facts(model, catalogue: Catalogue) -> dict[str, Any]:
  """What vectors of a catalogue depend on."""
  return {
    "checkpoint_fingerprint": model.run.fingerprint,
    "catalogue_fingerprint": catalogue.fingerprint,
    "dim": model.vector_encoder.dim,
  }


@functools.lru_cache(maxsize=1)
def _open(settings: IndexSettings):
  """(model, catalogue), once in a process."""
  from interbert_jax.app.use.model import load

  model = load(settings.model)
  return model, model.catalogue(settings.catalogue, settings.items)


def write_part(
  settings: IndexSettings, parts: pathlib.Path, number: int
) -> int:
  """Writes the vectors of a part; returns their number."""
  model, catalogue = _open(settings)
  start = number * settings.part_images
  ids = catalogue.item_ids[start : start + settings.part_images]
  vectors_NO = model.vectors(images=catalogue.choose(ids))
  with whole(_part_file(parts, number)) as path, path.open("wb") as file:
    np.save(file, vectors_NO)
  return len(ids)


def _part_file(parts: pathlib.Path, number: int) -> pathlib.Path:
  return parts / f"{number:06d}.npy"


def write_index(settings: IndexSettings) -> str:
  """Writes what is missing of an index; says what was made."""
  faiss = import_optional("faiss", package="faiss-cpu")
  model, catalogue = _open(settings)
  facts = index_facts(model, catalogue)
  output = pathlib.Path(settings.output).absolute()
  if (output / FACTS).exists():
    VectorIndex(output).check(facts)
    return f"{output} is ready: made before, of the same model and catalogue"
  parts = output.with_name(f".{output.name}.parts")
  parts.mkdir(parents=True, exist_ok=True)
  plan = facts | {"part_images": settings.part_images}
  if (parts / FACTS).exists():
    if json_file.read_object(parts / FACTS) != plan:
      raise ConfigError(
        f"{parts}: was begun with another model, catalogue or part_images; "
        "remove it"
      )
  else:
    json_file.write_json(parts / FACTS, plan)
  count = -(-len(catalogue) // settings.part_images)
  todo = [n for n in range(count) if not _part_file(parts, n).exists()]
  _run(settings, parts, todo, count)
  index = faiss.index_factory(
    facts["dim"], _KINDS[settings.numbers], faiss.METRIC_INNER_PRODUCT
  )
  vectors = [open_npy(_part_file(parts, n), hint="") for n in range(count)]
  if (found := sum(map(len, vectors))) != len(catalogue):
    raise DataError(
      f"found {found} vectors for {len(catalogue)} images; remove it",
      file=parts,
    )
  with whole(output) as folder:
    folder.mkdir()
    for part_NO in vectors:
      if not index.is_trained:  # as 16-bit numbers ask for
        index.train(np.asarray(part_NO))
      index.add(np.asarray(part_NO))
    faiss.write_index(index, str(folder / VECTORS))
    if settings.parquet:
      _write_parquet(folder / PARQUET, catalogue.item_ids, vectors)
    json_file.write_json(
      folder / FACTS,
      facts | {"count": len(catalogue), "numbers": settings.numbers},
    )
  shutil.rmtree(parts)
  return f"{output}: {len(catalogue):,} vectors of {facts['dim']} numbers"


def _run(
  settings: IndexSettings, parts: pathlib.Path, todo: list[int], count: int
) -> None:
  if settings.beam is None:
    with Progress(
      total=count, done=count - len(todo), unit="part", what="index"
    ) as progress:
      for number in todo:
        write_part(settings, parts, number)
        progress.advance(1)
    return
  run_with_beam(
    functools.partial(write_part, settings, parts), todo, settings.beam
  )


def _write_parquet(
  path: pathlib.Path, ids: Sequence[str], vectors: Sequence[np.ndarray]
) -> None:
  pyarrow = import_optional("pyarrow")
  from pyarrow import parquet

  dim = vectors[0].shape[1]
  schema = pyarrow.schema(
    [
      ("image_id", pyarrow.string()),
      ("vector", pyarrow.list_(pyarrow.float32(), dim)),
    ]
  )
  start = 0
  with parquet.ParquetWriter(path, schema) as writer:
    for part_NO in vectors:
      flat = pyarrow.array(np.asarray(part_NO).ravel(), pyarrow.float32())
      writer.write_table(
        pyarrow.table(
          [
            pyarrow.array(ids[start : start + len(part_NO)]),
            pyarrow.FixedSizeListArray.from_arrays(flat, dim),
          ],
          schema=schema,
        )
      )
      start += len(part_NO)


def main(arguments: list[str] | None = None) -> int:
  """Runs the command; returns its exit status."""
  if arguments is None:
    arguments = sys.argv[1:]
  (settings,) = parse_flags(
    spelled(arguments),
    IndexSettings,
    description="Writes the vectors of a catalogue, for searches that scale.",
  )

  def work() -> None:
    from interbert_jax.app.command_line import keep_compiled

    keep_compiled()
    print(write_index(settings))

  return run_command(work)


if __name__ == "__main__":
  sys.exit(main())
