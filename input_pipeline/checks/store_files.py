"""D1 and D2: whether the files of a store are all there, whole and unchanged.

Here a store that `RegionStore` refuses is opened as far as it goes, so that one
run of the checks names everything that is wrong with it.
"""

import pathlib
from dataclasses import dataclass
from typing import Any

from input_pipeline.checks.report import Findings, Place
from input_pipeline.store import schema
from input_pipeline.store.manifest import broken_fields
from input_pipeline.store.region_store import (
  IMAGE_IDS,
  MANIFEST,
  TFDS_FILES,
  manifest_fingerprint,
)
from input_pipeline.store.schema import Layout
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import file_sha256
from interbert_jax.contract.json_file import read_json

_COPY_AGAIN = "copy or write the store again"


@dataclass(frozen=True)
class StoreFiles:
  """A store as far as it can be opened.

  Attributes:
    directory: of the store.
    manifest: as it is, edited or not.
    layout: of the records.
    shards: entries of the manifest, each with file, records, bytes, sha256.
    image_ids: of all rows; None where the file does not fit the manifest.
  """

  directory: pathlib.Path
  manifest: dict[str, Any]
  layout: Layout
  shards: list[dict[str, Any]]
  image_ids: tuple[str, ...] | None


def check_store_files(
  directory: pathlib.Path, findings: Findings, *, checksums: bool = True
) -> StoreFiles | None:
  """Adds what is wrong with the files; None where there is no manifest.

  Args:
    directory: of the store.
    findings: takes what is found.
    checksums: whether every byte is read and compared.

  Raises:
    DataError: there is no such directory.
  """
  if not directory.is_dir():
    raise DataError("no such directory, wanted a region store", file=directory)
  manifest = _read_manifest(directory, findings)
  if manifest is None:
    return None
  for name in (IMAGE_IDS, *TFDS_FILES):
    if not (directory / name).is_file():
      findings.add(
        "D2",
        "error",
        Place("no such file", str(directory / name)),
        wanted="all files of the store",
        hint=f"the copy is incomplete; {_COPY_AGAIN}",
      )
  shards = manifest["shards"]
  total = sum(shard["records"] for shard in shards)
  if total != manifest["num_images"]:
    findings.add(
      "D2",
      "error",
      Place(f"{total} records in all shards", str(directory / MANIFEST)),
      field="num_images",
      wanted=f"the {manifest['num_images']} images of the manifest",
      hint="write the store again",
    )
  for shard in shards:
    _check_shard_file(directory, shard, findings, checksums=checksums)
  known = {shard["file"] for shard in shards}
  for path in sorted(directory.glob("*.array_record-*")):
    if path.name not in known:
      findings.add(
        "D2",
        "error",
        Place("an extra shard", str(path)),
        wanted="only the shards of the manifest",
        hint="files of two stores are mixed; write the store again",
      )
  ids = _read_ids(directory, total, findings)
  layout = Layout.from_manifest(manifest)
  return StoreFiles(directory, manifest, layout, shards, ids)


def _read_manifest(
  directory: pathlib.Path, findings: Findings
) -> dict[str, Any] | None:
  path = directory / MANIFEST

  def report(found: str, wanted: str, field: str | None = None):
    findings.add(
      "D2",
      "error",
      Place(found, str(path)),
      field=field,
      wanted=wanted,
      hint="write the store again",
    )

  if not path.is_file():
    report("no such file", "a manifest: the store is unfinished or none")
    return None
  try:
    manifest = read_json(path)
  except DataError as e:
    problem = (
      str(e).removeprefix(f"{path}: ").removeprefix("not readable as JSON: ")
    )
    report(f"no JSON: {problem}", "a manifest")
    return None
  version = (
    manifest.get("schema_version") if isinstance(manifest, dict) else None
  )
  if version != schema.SCHEMA_VERSION:
    report(repr(version), f"version {schema.SCHEMA_VERSION}", "schema_version")
    return None
  broken = broken_fields(manifest)
  for field in broken:
    report(f"{manifest.get(field)!r:.60}", "what a manifest has", field)
  if broken:
    return None
  if manifest.get("fingerprint") != manifest_fingerprint(manifest):
    report("an edited manifest", "the fingerprint of the rest", "fingerprint")
  return manifest


def _check_shard_file(
  directory: pathlib.Path,
  shard: dict[str, Any],
  findings: Findings,
  *,
  checksums: bool,
):
  path = directory / shard["file"]
  if not path.is_file():
    findings.add(
      "D2",
      "error",
      Place(f"no such file, {shard['records']} records", str(path)),
      wanted="every shard of the manifest",
      hint=f"the copy is incomplete; {_COPY_AGAIN}",
    )
    return
  size = path.stat().st_size
  if size != shard["bytes"]:
    findings.add(
      "D1" if size else "D2",
      "error",
      Place(f"{size} bytes instead of {shard['bytes']}", str(path)),
      field="bytes",
      wanted="the size that the manifest has",
      hint=f"the file was cut or replaced; {_COPY_AGAIN}",
    )
  elif checksums and (found := file_sha256(path)) != shard["sha256"]:
    findings.add(
      "D1",
      "error",
      Place(f"{found[:12]} instead of {shard['sha256'][:12]}", str(path)),
      field="sha256",
      wanted="the checksum that the manifest has",
      hint=f"the file is damaged; {_COPY_AGAIN}",
    )


def _read_ids(
  directory: pathlib.Path, count: int, findings: Findings
) -> tuple[str, ...] | None:
  path = directory / IMAGE_IDS
  if not path.is_file():
    return None
  raw = path.read_bytes()
  try:
    # Lines end at "\n" only: an id may hold U+2028, or "\r".
    ids = tuple(raw.decode("utf-8").removesuffix("\n").split("\n"))
  except UnicodeDecodeError as e:
    line = raw[: e.start].count(b"\n") + 1
    findings.add(
      "D9",
      "error",
      Place(f"bytes {raw[e.start : e.end].hex(' ')}", f"{path}:{line}"),
      wanted="UTF-8",
      hint="write the store again",
    )
    return None
  if len(ids) != count:
    findings.add(
      "D2",
      "error",
      Place(f"{len(ids)} ids for {count} records", str(path)),
      wanted="one id per record",
      hint="write the store again",
    )
    return None
  if len(set(ids)) != count:
    first: dict[str, int] = {}
    for row, image_id in enumerate(ids):
      if first.setdefault(image_id, row) != row:
        place = f"also on line {first[image_id] + 1}"
        findings.add(
          "D11",
          "error",
          Place(place, f"{path}:{row + 1}", image_id=image_id),
          wanted="every id once",
          hint="write the store again",
        )
  return ids
