"""Settings of the property-based tests: the same few examples every time."""

from hypothesis import HealthCheck, settings


def bounded(max_examples: int):
  return settings(
    max_examples=max_examples,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
  )
