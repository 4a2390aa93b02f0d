"""The region store: one record per image, written once, read at random.

A store is a directory that TFDS opens as it is (`builder_from_directory`),
with two files of ours beside the shards: manifest.json and image_ids.txt.
Splits belong to annotations; a store has one TFDS split, named "images".

Dimensions: B images, R region slots, E feature width, C region classes.
"""

import functools
import hashlib
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from input_pipeline import schema
from input_pipeline.errors import DataError
from input_pipeline.host_tf import host_tensorflow

SPLIT = "images"
MANIFEST = "manifest.json"
IMAGE_IDS = "image_ids.txt"
TFDS_FILES = ("dataset_info.json", "features.json")
READ_CHUNK = 64  # records in memory at once when many are read


class RegionStore:
  """Opens a store and checks that it is whole."""

  def __init__(self, directory: str | pathlib.Path):
    self.directory = pathlib.Path(directory)
    if not self.directory.is_dir():
      raise DataError(
        "no such directory, looked for a region store",
        file=self.directory,
        hint="python -m tools.sample_data makes sample data",
      )
    self.manifest = read_manifest(self.directory)
    self.feature_dim: int = self.manifest["feature_dim"]
    self.num_classes: int | None = self.manifest["num_classes"]
    self.fingerprint: str = self.manifest["fingerprint"]
    for name in (IMAGE_IDS, *TFDS_FILES):
      if not (self.directory / name).is_file():
        raise DataError(
          f"has a manifest but no {name}",
          file=self.directory,
          hint="the copy is incomplete; copy or write the store again",
        )
    self._check_shards()
    # Lines end at "\n" only: an id may hold U+2028, or "\r".
    text = (self.directory / IMAGE_IDS).read_bytes().decode("utf-8")
    self.image_ids = tuple(text.removesuffix("\n").split("\n"))
    if len(self.image_ids) != len(self):
      raise DataError(
        f"found {len(self.image_ids)} ids, the manifest has {len(self)} images",
        file=self.directory / IMAGE_IDS,
        hint="write the store again",
      )

  def __len__(self) -> int:
    return self.manifest["num_images"]

  def _check_shards(self):
    import tensorflow_datasets as tfds

    host_tensorflow()
    builder = tfds.builder_from_directory(self.directory)
    self._features = builder.info.features
    found = list(builder.info.splits[SPLIT].shard_lengths)
    wanted = [shard["records"] for shard in self.manifest["shards"]]
    if found != wanted or sum(wanted) != len(self):
      raise DataError(
        f"shards hold {found} records, the manifest says {wanted}, {len(self)} "
        "in all",
        file=self.directory,
        hint="write the store again",
      )
    for shard in self.manifest["shards"]:
      path = self.directory / shard["file"]
      size = path.stat().st_size if path.is_file() else "no file"
      if size != shard["bytes"]:
        raise DataError(
          f"found {size}, the manifest says {shard['bytes']} bytes",
          file=path,
          hint="the copy is incomplete; copy or write the store again",
        )
    self._source = builder.as_data_source(SPLIT).data_source

  def verify(self):
    """Reads every shard and compares its checksum with the manifest."""
    for shard in self.manifest["shards"]:
      path = self.directory / shard["file"]
      found = file_sha256(path)
      if found != shard["sha256"]:
        raise DataError(
          f"found sha256 {found[:12]}, the manifest says "
          f"{shard['sha256'][:12]}",
          file=path,
          hint="the file is damaged; copy or write the store again",
        )

  @functools.cached_property
  def _row_of_id(self) -> dict[str, int]:
    return {image_id: row for row, image_id in enumerate(self.image_ids)}

  def rows(self, ids: Sequence[str], *, wanted_by: object = None) -> np.ndarray:
    """The row of each image id, int64; `wanted_by` is a file for messages."""
    missing = [i for i in dict.fromkeys(ids) if i not in self._row_of_id]
    if missing:
      by = "" if wanted_by is None else f" of {wanted_by}"
      more = ", ..." if len(missing) > 10 else ""
      raise DataError(
        f"{len(missing)} image ids{by} are not in this store of {len(self)}: "
        f"{', '.join(missing[:10])}{more}",
        file=self.directory,
        field="image_id",
        hint="add these images to the store or drop their lines",
      )
    return np.array([self._row_of_id[i] for i in ids], np.int64)

  def read_raw(self, rows: Sequence[int] | np.ndarray) -> list[bytes]:
    """The serialised records of these rows."""
    return self._source.__getitems__([int(row) for row in rows])

  def read(self, rows: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
    """The whole records of these rows, as they were written."""
    records = map(self._features.deserialize_example_np, self.read_raw(rows))
    return [{**r, "image_id": r["image_id"].decode("utf-8")} for r in records]

  def decode(self, raw, *, max_regions: int, class_probs: bool) -> dict:
    """Cuts and pads serialised records, in TensorFlow ops.

    Args:
      raw: [B] string tensor, from `read_raw`.
      max_regions: R; of images with more the first are kept.
      class_probs: whether to decode these too.

    Returns:
      Tensors: region_features [B, R, E] float16, region_boxes [B, R, 4]
      float32, num_regions [B] int32, image_size [B, 2] int32, and
      region_class_probs [B, R, C] float16 where asked for; 0 after num_regions.
    """
    tf = host_tensorflow()
    widths = {"features": self.feature_dim, "boxes": 4}
    if class_probs:
      widths["class_probs"] = self.num_classes
    scalar = tf.io.FixedLenFeature([], tf.int64)
    spec = dict.fromkeys(("width", "height", "num_regions"), scalar)
    spec |= dict.fromkeys(widths, tf.io.FixedLenFeature([], tf.string))
    record = tf.io.parse_example(raw, spec)
    arrays = {}
    for field, width in widths.items():
      dtype = tf.float32 if field == "boxes" else tf.float16
      # fixed_length cuts and zero-pads while it copies: the one copy made. It
      # knows no float16, whose bits therefore pass as uint16.
      values = tf.io.decode_raw(
        record[field],
        tf.float32 if field == "boxes" else tf.uint16,
        fixed_length=max_regions * width * dtype.size,
      )
      values = tf.bitcast(values, dtype)
      arrays[f"region_{field}"] = tf.reshape(values, [-1, max_regions, width])
    num_regions = tf.minimum(record["num_regions"], max_regions)
    image_size = tf.stack([record["width"], record["height"]], axis=1)
    return {
      **arrays,
      "num_regions": tf.cast(num_regions, tf.int32),
      "image_size": tf.cast(image_size, tf.int32),
    }

  def read_padded(
    self, rows: np.ndarray, *, max_regions: int, class_probs: bool
  ) -> dict[str, np.ndarray]:
    """`decode` of many rows, as NumPy arrays that are filled part by part."""
    arrays: dict[str, np.ndarray] = {}
    for start in range(0, len(rows), READ_CHUNK):
      raw = self.read_raw(rows[start : start + READ_CHUNK])
      part = self.decode(raw, max_regions=max_regions, class_probs=class_probs)
      for key, value in part.items():
        value = value.numpy()
        if key not in arrays:
          arrays[key] = np.empty((len(rows), *value.shape[1:]), value.dtype)
        arrays[key][start : start + len(value)] = value
    return arrays


def check_max_regions(max_regions: int):
  """Refuses batches without regions."""
  if max_regions < 1:
    raise DataError(
      f"found {max_regions}, wanted at least 1", field="max_regions"
    )


def read_manifest(directory: pathlib.Path) -> dict[str, Any]:
  """Reads and checks manifest.json, without TensorFlow."""
  path = directory / MANIFEST
  if not path.is_file():
    raise DataError(
      f"unfinished or not a region store: it has no {MANIFEST}",
      file=directory,
      hint="write the store again",
    )
  try:
    manifest = json.loads(path.read_text("utf-8"))
  except ValueError as e:
    raise DataError(
      f"not readable: {e}", file=path, hint="write the store again"
    ) from None
  version = manifest.get("schema_version")
  if version != schema.SCHEMA_VERSION:
    raise DataError(
      f"found {version}, wanted {schema.SCHEMA_VERSION}",
      file=path,
      field="schema_version",
      hint="write the store again with this code",
    )
  if manifest.get("fingerprint") != manifest_fingerprint(manifest):
    raise DataError(
      "does not belong to the rest: the manifest was edited",
      file=path,
      field="fingerprint",
      hint="write the store again",
    )
  return manifest


def manifest_fingerprint(manifest: dict[str, Any]) -> str:
  """Hash over everything else in the manifest, shard checksums included."""
  rest = {k: v for k, v in manifest.items() if k != "fingerprint"}
  return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def file_sha256(path: pathlib.Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()
