"""TensorFlow on the host: it reads data, and sees no accelerator."""

import contextlib
import functools
import os
from collections.abc import Iterator


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
  """Hides what C++ code writes to stderr; Python's exceptions are raised."""
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
  """Imports TensorFlow and hides the accelerators, which JAX uses."""
  # The work here is copying: oneDNN would only add notices.
  os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
  # TensorFlow describes the CPU when it is imported and again at its first
  # operation, whatever TF_CPP_MIN_LOG_LEVEL says.
  with _quiet_stderr():
    import tensorflow as tf

    for kind in ("GPU", "TPU"):
      with contextlib.suppress(RuntimeError):
        # TensorFlow has been used already, which fixes its devices.
        tf.config.set_visible_devices([], kind)
    tf.constant(0)
  return tf
