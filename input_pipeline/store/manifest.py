"""What the manifest of a region store must have before anything is read.

A manifest may come from anybody: names of shards are no paths, and numbers that
decide how much memory a batch takes are within limits.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

from input_pipeline.store import schema

MAX_WIDTH = 1 << 16  # of features and of class probabilities


def broken_fields(manifest: Mapping[str, Any]) -> list[str]:
  """Fields without which nothing can be read."""
  broken = [
    key
    for key, most in (("num_images", 1 << 40), ("feature_dim", MAX_WIDTH))
    if not is_count(manifest.get(key), most=most)
  ]
  shards = manifest.get("shards")
  if not isinstance(shards, list) or not all(map(_is_entry, shards)):
    broken.append("shards")
  classes = manifest.get("num_classes")
  if classes is not None and not (
    is_count(classes, most=MAX_WIDTH) and classes
  ):
    broken.append("num_classes")
  if manifest.get("feature_encoding") not in schema.ENCODINGS:
    broken.append("feature_encoding")
  optional = manifest.get("optional")
  if not isinstance(optional, list) or set(map(str, optional)) - set(
    schema.PER_REGION
  ):
    broken.append("optional")
  return broken


def is_count(value: Any, *, most: int) -> bool:
  return type(value) is int and 0 <= value <= most


def is_file_name(value: Any) -> bool:
  """Whether this is the name of a file in a directory, and no path."""
  return (
    isinstance(value, str)
    and value not in ("", ".", "..")
    and "\0" not in value
    and pathlib.PurePath(value).name == value
  )


def _is_entry(shard: Any) -> bool:
  return (
    isinstance(shard, dict)
    and is_file_name(shard.get("file"))
    and is_count(shard.get("records"), most=1 << 40)
    and is_count(shard.get("bytes"), most=1 << 62)
    and isinstance(shard.get("sha256"), str)
  )
