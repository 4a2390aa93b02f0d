"""Converts one part of a source into one shard: what a worker does."""

import functools
import pathlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from input_pipeline.conversion.plan import Plan, read_sizes
from input_pipeline.conversion.to_record import (
  BoxCounts,
  check_background,
  check_boxes,
  to_record,
)
from input_pipeline.formats.base import ImageRegions, Part
from input_pipeline.store.shard import ShardFacts, ShardWriter, Statistics
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.json_file import read_json, write_json


@dataclass
class PartFacts:
  """Facts of a converted part, in a JSON file beside its shard."""

  shard: ShardFacts = field(default_factory=ShardFacts)
  counts: BoxCounts = field(default_factory=BoxCounts)
  # A caption for each record; empty if the source has no captions.
  captions: list[str | None] = field(default_factory=list)
  skipped: list[str] = field(default_factory=list)  # why, with the place


def shard_path(building: str, index: int) -> pathlib.Path:
  return pathlib.Path(building) / f"part-{index:05d}"


def facts_path(building: str, index: int) -> pathlib.Path:
  return pathlib.Path(building) / f"part-{index:05d}.json"


def read_facts(building: str, index: int) -> PartFacts:
  content = read_json(facts_path(building, index), max_bytes=4 << 30)
  shard = content.pop("shard")
  statistics = Statistics(**shard.pop("statistics"))
  return PartFacts(
    shard=ShardFacts(statistics=statistics, **shard),
    counts=BoxCounts(**content.pop("counts")),
    **content,
  )


def is_converted(plan: Plan, index: int) -> bool:
  """Whether the part's shard is whole; facts are written after the shard."""
  if not facts_path(plan.building, index).is_file():
    return False
  facts = read_facts(plan.building, index)
  path = shard_path(plan.building, index)
  size = path.stat().st_size if path.is_file() else 0
  return size == facts.shard.bytes


def drop_changed(
  building: pathlib.Path, before: Mapping[str, Any], now: Mapping[str, Any]
) -> None:
  """Removes converted parts of an earlier plan whose files have changed."""

  def facts(plan: Mapping[str, Any], index: int):
    parts = plan.get("parts", [])
    if index >= len(parts):
      return None
    return parts[index], plan["files"][index], plan["sizes"]

  for index in range(max(len(before.get("parts", [])), len(now["parts"]))):
    if facts(before, index) != facts(now, index):
      facts_path(str(building), index).unlink(missing_ok=True)
      shard_path(str(building), index).unlink(missing_ok=True)


def convert_part(plan: Plan, index: int) -> int:
  """Reads, checks and writes a part; returns the number of its images."""
  part = Part(*plan.parts[index])
  facts = PartFacts()
  path = shard_path(plan.building, index)
  with ShardWriter(
    path, plan.layout, compression=plan.settings.compression
  ) as writer:
    for image in images(plan, part, facts):
      try:
        record = to_record(
          image,
          settings=plan.settings,
          layout=plan.layout,
          sizes=_sizes(plan.sizes),
          counts=facts.counts,
        )
        writer.write(record, place=image.place, file=image.place)
      except DataError as e:
        _skip(plan, facts, e)
        continue
      facts.captions.append(image.caption)
    if plan.settings.on_bad_record == "error":
      check_boxes(
        facts.counts, limit=plan.settings.max_bad_boxes, file=part.path
      )
    # An hour of conversion for nothing, were it only known at the end.
    check_background(facts.counts, plan.reader, plan.settings, file=part.path)
  facts.shard = writer.facts
  if not any(facts.captions):
    facts.captions = []
  write_json(facts_path(plan.building, index), asdict(facts))
  return facts.shard.records


def images(plan: Plan, part: Part, facts: PartFacts) -> Iterator[ImageRegions]:
  """The images of a part; a bad record is skipped, or its error is raised."""
  for image in plan.reader.read(part):
    if isinstance(image, DataError):
      _skip(plan, facts, image)
    else:
      yield image


def _skip(plan: Plan, facts: PartFacts, error: DataError):
  if plan.settings.on_bad_record == "error":
    raise error
  facts.skipped.append(str(error))


@functools.lru_cache(maxsize=1)
def _sizes(path: str | None) -> dict[str, tuple[int, int]]:
  return read_sizes(path)
