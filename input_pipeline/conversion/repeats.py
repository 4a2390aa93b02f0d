"""Finds images that a source has more than once.

Extraction on several machines repeats images, and so do files with a row per
query. Repeats with the same regions are dropped and counted, others refused.
"""

import hashlib
import pathlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from input_pipeline.conversion.part import PartFacts
from input_pipeline.store import schema
from input_pipeline.store.schema import Layout
from input_pipeline.store.shard import (
  COMPRESSION,
  ShardFacts,
  Statistics,
  open_shard,
  system_errors,
)
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import file_sha256, sync


@dataclass
class Repeats:
  """The rows to leave out of each part, and their captions."""

  rows: dict[int, set[int]] = field(default_factory=dict)
  captions: dict[str, list[str]] = field(default_factory=dict)

  @property
  def count(self) -> int:
    return sum(map(len, self.rows.values()))


def find_repeats(
  facts: Callable[[], Iterable[PartFacts]],
  *,
  file: object,
  on_repeated: str = "error",
) -> Repeats:
  """Compares the ids of all parts, in eight bytes of memory per image.

  Raises:
    DataError: two images of one id have different regions.
  """
  hashes = [
    np.array([_hash(i) for i in part.shard.ids], np.uint64) for part in facts()
  ]
  values, counts = np.unique(
    np.concatenate([np.zeros(0, np.uint64), *hashes]), return_counts=True
  )
  suspects = set(values[counts > 1].tolist())
  repeats = Repeats()
  if not suspects:
    return repeats
  first: dict[str, tuple[str, str]] = {}
  for index, part in enumerate(facts()):
    shard = part.shard
    for row, image_id in enumerate(shard.ids):
      if int(hashes[index][row]) not in suspects:
        continue
      digest, place = shard.digests[row], shard.places[row]
      before = first.setdefault(image_id, (digest, place))
      if before == (digest, place):
        continue
      if before[0] != digest and on_repeated == "error":
        raise DataError(
          f"other regions than the image of this id at {before[1]}",
          file=place or file,
          record=f"(image id {image_id!r})",
          field="image_id",
          hint="one id is one image: rename or remove one of them, or "
          "--on_repeated=first keeps the first (what is converted is kept)",
        )
      repeats.rows.setdefault(index, set()).add(row)
      if part.captions and part.captions[row]:
        repeats.captions.setdefault(image_id, []).append(part.captions[row])
  return repeats


def _hash(image_id: str) -> int:
  digest = hashlib.blake2b(image_id.encode("utf-8"), digest_size=8).digest()
  return int.from_bytes(digest, "little")


def copy_without(
  source: pathlib.Path,
  target: pathlib.Path,
  rows: set[int],
  *,
  facts: ShardFacts,
  layout: Layout,
  compression: str,
) -> ShardFacts:
  """Copies a shard without some rows; returns the facts of the copy."""
  from array_record.python import array_record_module

  reader = open_shard(source)
  writer = array_record_module.ArrayRecordWriter(
    str(target), f"group_size:1,{COMPRESSION[compression]}"
  )
  kept = [row for row in range(facts.records) if row not in rows]
  statistics = Statistics()
  for row in kept:
    raw = reader.read([row])[0]
    with system_errors(target):
      writer.write(raw)
    record = schema.parse(raw, layout)
    features = schema.parse_whole(raw, layout)["features"]
    statistics.add(record, features)
  with system_errors(target):
    writer.close()
  sync(target)
  # The error of 8 bits was measured when the features were still whole.
  share = statistics.values / facts.statistics.values
  statistics.error_squares = facts.statistics.error_squares * share
  return ShardFacts(
    bytes=target.stat().st_size,
    sha256=file_sha256(target),
    ids=[facts.ids[row] for row in kept],
    places=[facts.places[row] for row in kept],
    digests=[facts.digests[row] for row in kept],
    num_regions=facts.num_regions and [facts.num_regions[row] for row in kept],
    statistics=statistics,
  )
