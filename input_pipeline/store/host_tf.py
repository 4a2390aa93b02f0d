"""TensorFlow as a host library: reads, decodes, and sees no accelerator."""

import contextlib
import functools
import os
from collections.abc import Iterator


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
  """Sends what C++ writes to stderr away; Python's exceptions still rise."""
  saved = os.dup(2)
  nowhere = os.open(os.devnull, os.O_WRONLY)
  try:
    os.dup2(nowhere, 2)
    yield
  finally:
    os.dup2(saved, 2)
    os.close(saved)
    os.close(nowhere)


@functools.cache
def host_tensorflow():
  """Imports TensorFlow with accelerators hidden, so that JAX has them alone."""
  # The work here is copying; oneDNN has nothing to add but notices.
  os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
  # TensorFlow describes the CPU when it is imported and again at its first
  # operation, whatever TF_CPP_MIN_LOG_LEVEL says.
  with _quiet_stderr():
    import tensorflow as tf

    for kind in ("GPU", "TPU"):
      with contextlib.suppress(RuntimeError):
        # Someone used TensorFlow before us: the choice is made.
        tf.config.set_visible_devices([], kind)
    tf.constant(0)
  return tf
