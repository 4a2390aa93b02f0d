"""D1 and D2: whether the files of a store are there, whole and unchanged.

`RegionStore` refuses a store at its first fault. The checks go on as far as
they can, so that one run names all faults.
"""

import pathlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from input_pipeline.checks.annotation_file import add_refusal
from input_pipeline.checks.report import Findings
from input_pipeline.store import store_files
from input_pipeline.store.manifest import (
  REWRITE,
  load_manifest,
  manifest_faults,
)
from input_pipeline.store.schema import Layout
from interbert_jax.contract.errors import DataError


@dataclass(frozen=True)
class StoreFiles:
  """A store as far as it can be opened.

  Attributes:
    directory: directory of the store.
    manifest: the manifest, edited or not.
    layout: layout of the records.
    shards: entries of the manifest, each with file, records, bytes, sha256.
    image_ids: the id of each row; None where they do not fit the manifest.
    num_regions: of each row; None where the store has no such file.
  """

  directory: pathlib.Path
  manifest: dict[str, Any]
  layout: Layout
  shards: list[dict[str, Any]]
  image_ids: tuple[str, ...] | None
  num_regions: np.ndarray | None


def check_store_files(
  directory: pathlib.Path, findings: Findings, *, checksums: bool = True
) -> StoreFiles | None:
  """Adds the faults of the files; None where there is no usable manifest.

  Args:
    directory: directory of the store.
    findings: findings are added to it.
    checksums: whether to read all files and compare their checksums.

  Raises:
    DataError: there is no such directory.
  """
  if not directory.is_dir():
    raise DataError("no such directory, wanted a region store", file=directory)
  try:
    manifest = load_manifest(directory)
  except DataError as error:
    add_refusal(error, directory, findings, case="D2", hint=REWRITE)
    return None
  faults = list(manifest_faults(directory, manifest))
  for fault in faults:
    findings.fault(fault)
  if any(fault.field != "fingerprint" for fault in faults):
    return None
  damaged = set()
  for fault in store_files.file_faults(directory, manifest):
    findings.fault(fault)
    damaged.add(fault.file)
  shards = manifest["shards"]
  for shard in shards if checksums else ():
    if directory / shard["file"] not in damaged:
      if fault := store_files.checksum_fault(directory, shard):
        findings.fault(fault)
  count = store_files.num_records(shards)
  try:
    num_regions = store_files.read_num_regions(directory, count)
  except DataError as error:
    path = directory / store_files.NUM_REGIONS
    add_refusal(error, path, findings, case="D2", hint=REWRITE)
    num_regions = None
  return StoreFiles(
    directory,
    manifest,
    Layout.from_manifest(manifest),
    shards,
    _read_ids(directory, count, findings),
    num_regions,
  )


def _read_ids(
  directory: pathlib.Path, count: int, findings: Findings
) -> tuple[str, ...] | None:
  path = directory / store_files.IMAGE_IDS
  if not path.is_file():
    return None  # file_faults has said so
  try:
    ids = store_files.load_image_ids(directory)
  except DataError as error:
    add_refusal(error, path, findings, case="D9", hint=REWRITE)
    return None
  for fault in store_files.id_faults(directory, ids, count):
    findings.fault(fault)
  return ids if len(ids) == count else None
