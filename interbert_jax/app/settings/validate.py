"""All that can be wrong with a configuration and is known without data.

Asked before data is read or anything compiled: keys and types, what numbers may
be, and what the functions that a value is for refuse. One message lists it all.
"""

from collections.abc import Mapping
from typing import Any

import jax

from interbert_jax.app.settings import keys as config_keys
from interbert_jax.app.settings import ranges as config_ranges
from interbert_jax.app.settings.checks import CHECKS, Machine, Refused
from interbert_jax.contract.errors import ConfigError, DataError


def validate(
  config: Mapping[str, Any],
  *,
  devices: int | None = None,
  hosts: int | None = None,
) -> None:
  """Refuses a configuration that cannot be run.

  Args:
    config: a ConfigDict, or what was read from JSON.
    devices: that share a batch; those of JAX by default.
    hosts: likewise.

  Raises:
    ConfigError: lists every mistake, a line each: key, what was found, what
      was wanted.
  """
  config = config_keys.plain(config)
  found = dict(config_keys.mistakes(config))
  for key, value in config_keys.leaves(config):
    if key not in found and (words := config_ranges.out_of_range(key, value)):
      found[key] = words
  lines = list(found.values())
  if devices is None:
    devices = jax.device_count()
  if hosts is None:
    hosts = jax.process_count()
  trusted = _Trusted(config, refused=found.keys())
  machine = Machine(devices, hosts)
  for section, check in CHECKS:
    try:
      check(trusted, machine)
    except Refused:
      pass
    except (ConfigError, DataError) as error:
      lines.append(_line(section, str(error)))
  lines = list(dict.fromkeys(lines))
  if len(lines) == 1:
    raise ConfigError(lines[0])
  if lines:
    raise ConfigError(
      f"the configuration has {len(lines)} mistakes:\n  " + "\n  ".join(lines)
    )


class _Trusted(Mapping):
  """A configuration in which no check sees a value that is refused."""

  def __init__(self, values: Mapping[str, Any], *, refused, prefix: str = ""):
    self._values, self._refused, self._prefix = values, refused, prefix

  def __getitem__(self, name):
    key = f"{self._prefix}{name}"
    if key in self._refused or name not in self._values:
      raise Refused(key)
    value = self._values[name]
    if isinstance(value, Mapping):
      return _Trusted(value, refused=self._refused, prefix=f"{key}.")
    return value

  def __contains__(self, name):
    return name in self._values

  def __iter__(self):
    return iter(self._values)

  def __len__(self):
    return len(self._values)


def _line(section: str, message: str) -> str:
  """The message with its key in full."""
  if section and message.startswith("field "):
    message = message.removeprefix("field ")
    return message if message.startswith(section) else f"{section}.{message}"
  if not section or message.startswith(f"{section}."):
    return message
  return f"{section}: {message}"
