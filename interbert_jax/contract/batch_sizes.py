"""How a batch is divided: over devices, into parts, into groups.

Each rule stands here once: where a batch is divided, and where a configuration
is checked before there is one.
"""

import dataclasses
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

from interbert_jax.contract.errors import ConfigError
from interbert_jax.contract.settings import Settings, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParallelSettings(Settings):
  """How a step runs on several devices."""

  section: ClassVar[str] = "parallel"

  mode: str = setting(
    "jit",
    "jit (one program over a mesh of all devices) or pmap",
    choices=("jit", "pmap"),
  )
  sharding: str = setting(
    "replicated",
    "replicated (every device has a whole copy of the training state), zero1 "
    "(optimiser state and moving average spread over the devices) or fsdp "
    "(parameters as well)",
    choices=("replicated", "zero1", "fsdp"),
  )

  def check(self) -> Iterator[str]:
    if self.mode == "pmap" and self.sharding != "replicated":
      yield (
        f"parallel.sharding {self.sharding!r} needs parallel.mode 'jit'; pmap "
        "keeps a whole copy on every device"
      )


class Part(NamedTuple):
  """So many examples of a group, in a row, that have so few slots.

  Attributes:
    count: of examples.
    length: slots of their texts.
    regions: slots of their images, without the global region; None for all.
  """

  count: int
  length: int
  regions: int | None = None


# How each group of a batch is cut; None where all examples have all slots.
Parts = tuple[Part, ...] | None


def examples_of(parts: Parts) -> int:
  """The examples of a group; 0 without parts."""
  return sum(part.count for part in parts or ())


def num_slots(parts: Parts) -> int:
  """The slots of a group's texts."""
  return sum(part.count * part.length for part in parts or ())


def repeated(parts: Parts, times: int, *, of: int = 1) -> Parts:
  """The parts where each of them stands for `times` texts in place of `of`."""
  return parts and tuple(
    part._replace(count=part.count * times // of) for part in parts
  )


def check_devices_divide(batch_size: int, devices: int, *, name: str) -> None:
  """Refuses what cannot be split over the devices."""
  if batch_size <= 0 or batch_size % devices:
    low = batch_size // devices * devices
    near = [size for size in (low, low + devices) if size > 0]
    raise ConfigError(
      f"{name} is {batch_size}, which {devices} devices cannot share equally; "
      f"the nearest sizes are {near}"
    )


def check_accumulation(
  batch_size: int, accumulate_steps: int, devices: int
) -> None:
  """Refuses parts that are unequal, or that devices cannot share."""
  if accumulate_steps < 1 or batch_size % accumulate_steps:
    raise ConfigError(
      f"train.accumulate_steps is {accumulate_steps}; wanted a divisor of "
      f"train.batch_size, which is {batch_size}"
    )
  check_devices_divide(
    batch_size // accumulate_steps,
    devices,
    name="train.batch_size / train.accumulate_steps",
  )


def check_parts(examples: int, count: int, *, group_size: int) -> None:
  """Refuses to cut a step's examples into parts that break groups."""
  if examples % (count * group_size):
    raise ConfigError(
      f"{examples} examples cannot be cut into train.accumulate_steps={count} "
      f"parts of whole groups of task.group_size={group_size}; their product, "
      f"{count * group_size}, must divide train.batch_size (with "
      "parallel.mode=pmap, the share of each device)"
    )


def check_groups(examples: int, group_size: int) -> None:
  """Refuses groups that a step's examples cannot be cut into."""
  if examples % group_size:
    raise ConfigError(
      f"a batch of {examples} examples cannot be cut into groups of "
      f"{group_size}; set task.group_size to a divisor of the batch size per "
      "device"
    )
