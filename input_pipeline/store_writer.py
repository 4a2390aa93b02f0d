"""Writes a region store: whole, or not at all."""

import itertools
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from input_pipeline import schema
from input_pipeline.errors import DataError
from input_pipeline.host_tf import host_tensorflow
from input_pipeline.region_store import (
  IMAGE_IDS,
  MANIFEST,
  SPLIT,
  file_sha256,
  manifest_fingerprint,
)

NAME = "regions"  # the TFDS name, and the start of the shards' names


def write_store(
  directory: str | pathlib.Path,
  records: Iterable[Mapping[str, Any]],
  *,
  feature_dim: int,
  num_classes: int | None = None,
  source: str,
  extractor: str,
  background_class: int | None = None,
  records_per_shard: int = 1024,
) -> dict[str, Any]:
  """Writes the records, in their order, and returns the manifest.

  The store is built in a hidden directory beside its place and renamed at the
  very end, so that no unfinished store ever stands at `directory`.

  Args:
    directory: must not exist yet.
    records: see schema.py; regions in descending order of score.
    feature_dim: E.
    num_classes: C where records have class_probs.
    source: format and file the records come from.
    extractor: the detector that made the features.
    background_class: the class that means no object, where there is one.
    records_per_shard: 1024 records of 36 regions are about 150 MB.
  """
  directory = pathlib.Path(directory).absolute()
  if directory.exists():
    raise DataError(
      "exists already, wanted a new directory",
      file=directory,
      hint="remove it or choose another name",
    )
  directory.parent.mkdir(parents=True, exist_ok=True)
  building = pathlib.Path(
    tempfile.mkdtemp(
      prefix=f".{directory.name}.unfinished-", dir=directory.parent
    )
  )
  try:
    building.chmod(0o755)  # mkdtemp gives 0o700
    manifest = _write_files(
      building,
      records,
      records_per_shard=records_per_shard,
      about={
        "schema_version": schema.SCHEMA_VERSION,
        "feature_dim": feature_dim,
        "num_classes": num_classes,
        "source": source,
        "extractor": extractor,
        "box_convention": "x1, y1, x2, y2 in pixels of the image",
        "background_class": background_class,
        "region_order": "descending score",
      },
    )
    os.rename(building, directory)
  except BaseException:
    shutil.rmtree(building, ignore_errors=True)
    raise
  _sync(directory.parent)
  return manifest


def _write_files(
  building: pathlib.Path,
  records: Iterable[Mapping[str, Any]],
  *,
  records_per_shard: int,
  about: dict[str, Any],
) -> dict[str, Any]:
  import tensorflow_datasets as tfds
  from array_record.python import array_record_module

  tf = host_tensorflow()
  features = schema.tfds_features(about["feature_dim"], about["num_classes"])
  statistics = _Statistics()
  row_of_id: dict[str, int] = {}
  lengths, num_bytes = [], 0

  def checked():
    for row, record in enumerate(records):
      record = schema.check_record(
        record,
        feature_dim=about["feature_dim"],
        num_classes=about["num_classes"],
        file=about["source"],
        index=row,
      )
      first = row_of_id.setdefault(record["image_id"], row)
      if first != row:
        raise DataError(
          f"record {first} has this id too",
          file=about["source"],
          record=f"{row} (image id {record['image_id']!r})",
          field="image_id",
          hint="a store has one record per image",
        )
      statistics.add(record["features"])
      # Protobuf maps have no order of their own; with one, equal records make
      # equal shards, checksums and fingerprints.
      example = tf.train.Example.FromString(features.serialize_example(record))
      yield example.SerializeToString(deterministic=True)

  serialised = checked()
  for head in serialised:
    path = building / f"shard-{len(lengths)}"  # their number is not known yet
    # Group size 1 is what random access wants.
    writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
    try:
      count = 0
      rest = itertools.islice(serialised, records_per_shard - 1)
      for example in itertools.chain([head], rest):
        writer.write(example)
        count += 1
        num_bytes += len(example)
    finally:
      writer.close()
    lengths.append(count)
  if not lengths:
    raise DataError("found no records", file=about["source"])

  shards = []
  for index, length in enumerate(lengths):
    path = building / (
      f"{NAME}-{SPLIT}.array_record-{index:05d}-of-{len(lengths):05d}"
    )
    os.rename(building / f"shard-{index}", path)
    shards.append(
      {
        "file": path.name,
        "records": length,
        "bytes": path.stat().st_size,
        "sha256": file_sha256(path),
      }
    )
  # TFDS can open the directory from here on, when all shards are complete.
  tfds.folder_dataset.write_metadata(
    data_dir=str(building),
    features=features,
    split_infos=[
      tfds.core.SplitInfo(
        name=SPLIT,
        shard_lengths=lengths,
        num_bytes=num_bytes,
        filename_template=tfds.core.ShardedFileTemplate(
          data_dir=building,
          dataset_name=NAME,
          split=SPLIT,
          filetype_suffix="array_record",
        ),
      )
    ],
    description=f"Region features from {about['source']}.",
    disable_shuffling=True,
    check_data=False,
  )
  ids = "".join(f"{image_id}\n" for image_id in row_of_id)
  (building / IMAGE_IDS).write_bytes(ids.encode("utf-8"))
  manifest = {
    **about,
    "num_images": len(row_of_id),
    "shards": shards,
    **statistics.result(),
  }
  manifest["fingerprint"] = manifest_fingerprint(manifest)
  # Nothing of the store may reach the disk after its manifest.
  for path in building.iterdir():
    _sync(path)
  text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
  (building / MANIFEST).write_text(text, "utf-8")
  _sync(building / MANIFEST)
  _sync(building)
  return manifest


class _Statistics:
  """Running statistics of features and of the number of regions."""

  def __init__(self):
    self.values = self.zeros = 0
    self.total = self.squares = 0.0
    self.min, self.max = np.inf, -np.inf
    self.regions: list[int] = []

  def add(self, features_RE: np.ndarray):
    wide = features_RE.astype(np.float64).ravel()
    self.values += wide.size
    self.zeros += wide.size - np.count_nonzero(wide)
    self.total += wide.sum()
    self.squares += np.square(wide).sum()  # a dot would start BLAS threads
    self.min = min(self.min, wide.min())
    self.max = max(self.max, wide.max())
    self.regions.append(len(features_RE))

  def result(self) -> dict[str, dict[str, float]]:
    mean = self.total / self.values
    variance = max(self.squares / self.values - mean**2, 0.0)
    return {
      "feature_statistics": {
        "mean": float(mean),
        "std": float(variance**0.5),
        "min": float(self.min),
        "max": float(self.max),
        "share_of_zeros": float(self.zeros / self.values),
      },
      "regions_per_image": {
        "min": min(self.regions),
        "mean": sum(self.regions) / len(self.regions),
        "max": max(self.regions),
      },
    }


def _sync(path: pathlib.Path):
  """Waits until a file or directory is on the disk."""
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)
