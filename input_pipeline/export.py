"""Writes a region store back in the formats that older code reads.

python -m input_pipeline.export --store=data/regions --format=lxmert_tsv \
    --output=regions.tsv
"""

import base64
import dataclasses
import pathlib
import pickle  # nosec B403 # writes, and reads none
import sys
from collections.abc import Callable

import numpy as np

from input_pipeline.store.schema import best_classes
from interbert_jax.contract.command import run_command
from interbert_jax.contract.errors import DataError, import_optional
from interbert_jax.contract.files import new_output, whole
from interbert_jax.contract.flags import parse_flags
from interbert_jax.contract.settings import Settings, setting

_CHUNK = 64  # records in memory
_LMDB_MAP_BYTES = 1 << 40  # sparse: the file is as large as its content


def _b64(array: np.ndarray, dtype: str) -> bytes:
  return base64.b64encode(np.ascontiguousarray(array, dtype).tobytes())


def write_lxmert_tsv(store, path: pathlib.Path, advance: Callable[[int], None]):
  """Writes ten columns; missing attributes are -1 with confidence 0.

  Features are float32 again, with the precision that the store has.
  """
  with path.open("wb") as file:
    for record in _records(store, advance):
      R = record["num_regions"]
      ids, scores = _classes(store, record)
      attributes = record.get("attribute_ids", np.full(R, -1))
      confidence = record.get("attribute_scores", np.zeros(R))
      columns = [
        _one_line(store, record["image_id"]),
        b"%d" % record["height"],
        b"%d" % record["width"],
        _b64(ids, "<i8"),
        _b64(scores, "<f4"),
        _b64(attributes, "<i8"),
        _b64(confidence, "<f4"),
        b"%d" % R,
        _b64(record["boxes"], "<f4"),
        _b64(record["features"], "<f4"),
      ]
      file.write(b"\t".join(columns) + b"\n")


def write_vilbert_lmdb(
  store, path: pathlib.Path, advance: Callable[[int], None]
):
  """Writes an LMDB of pickled rows with base64, as ViLBERT-beta does."""
  lmdb = import_optional("lmdb")
  env = lmdb.open(str(path), map_size=_LMDB_MAP_BYTES)
  keys = []
  try:
    for record in _records(store, advance):
      row = {
        "image_id": record["image_id"],
        "image_w": str(record["width"]),
        "image_h": str(record["height"]),
        "num_boxes": str(record["num_regions"]),
        "boxes": _b64(record["boxes"], "<f4"),
        "features": _b64(record["features"], "<f4"),
      }
      if "class_probs" in record:
        row["cls_prob"] = _b64(record["class_probs"], "<f4")
      key = record["image_id"].encode("utf-8")
      if len(key) > env.max_key_size():
        raise DataError(
          f"found {len(key)} bytes, LMDB keys end at {env.max_key_size()}",
          file=store.directory,
          record=f"(image id {record['image_id']!r})",
          field="image_id",
        )
      if key == b"keys":
        raise DataError(
          "found 'keys', which is the name of the list of all ids there",
          file=store.directory,
          field="image_id",
        )
      keys.append(key)
      with env.begin(write=True) as transaction:
        # Protocol 2, which Python 2 reads too.
        transaction.put(key, pickle.dumps(row, protocol=2))
    with env.begin(write=True) as transaction:
      transaction.put(b"keys", pickle.dumps(keys, protocol=2))
  finally:
    env.close()


EXPORTERS = {
  "lxmert_tsv": write_lxmert_tsv,
  "vilbert_lmdb": write_vilbert_lmdb,
}


def export(
  store_path: str | pathlib.Path,
  output: str | pathlib.Path,
  *,
  format: str,
):
  """Writes a whole store; `output` appears when it is complete."""
  from input_pipeline.store.region_store import RegionStore
  from interbert_jax.contract.progress import Progress

  store = RegionStore(store_path)
  output = new_output(output)
  with (
    whole(output, building=f".{output.name}.unfinished-export") as building,
    Progress(total=len(store), unit="images", what="export") as progress,
  ):
    EXPORTERS[format](
      store, building, lambda count: progress.advance(count, images=count)
    )


def _records(store, advance: Callable[[int], None]):
  for start in range(0, len(store), _CHUNK):
    records = store.read(range(start, min(start + _CHUNK, len(store))))
    yield from records
    advance(len(records))


def _classes(store, record) -> tuple[np.ndarray, np.ndarray]:
  classes = best_classes(
    record, background_class=store.manifest["background_class"]
  )
  if classes is None:
    raise DataError(
      "has no classes, which this format needs",
      file=store.directory,
      hint="--format=vilbert_lmdb needs none",
    )
  ids, scores = classes
  return ids, np.ones(len(ids)) if scores is None else scores


def _one_line(store, image_id: str) -> bytes:
  if "\t" in image_id or "\r" in image_id:
    raise DataError(
      "a tab or line end, which a TSV cannot hold",
      file=store.directory,
      record=f"(image id {image_id!r})",
      field="image_id",
    )
  return image_id.encode("utf-8")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command(Settings):
  store: pathlib.Path = setting(dataclasses.MISSING, "region store to write")
  output: pathlib.Path = setting(
    dataclasses.MISSING, "file or directory to write; must not exist yet"
  )
  format: str = setting(
    dataclasses.MISSING, "format of the output", choices=tuple(EXPORTERS)
  )


def main(arguments: list[str] | None = None) -> int:
  """Runs the command; returns its exit status."""
  (command,) = parse_flags(
    arguments,
    Command,
    prog="python -m input_pipeline.export",
    description="Writes a region store in a format that older code reads.",
  )

  def run():
    export(command.store, command.output, format=command.format)
    print(command.output)

  return run_command(run)


if __name__ == "__main__":
  sys.exit(main())
