"""How a batch is divided: over devices, into parts, into groups.

Each rule stands here once: where a batch is divided, and where a configuration
is checked before there is one.
"""

from interbert_jax.contract.errors import ConfigError


def check_divides(batch_size: int, devices: int, *, name: str) -> None:
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
  check_divides(
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
