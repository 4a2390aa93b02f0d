"""Errors a user can cause: one clear message, no traceback needed."""


class ConfigError(ValueError):
  """A configuration that cannot be run."""


class CheckpointError(ValueError):
  """A checkpoint that cannot be used."""
