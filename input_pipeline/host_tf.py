"""TensorFlow as a host library: reads, decodes, and sees no accelerator."""

import os


def host_tensorflow():
  """Imports TensorFlow with accelerators hidden, so that JAX has them alone."""
  # It tells of its CPU kernels at import; errors still reach Python.
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  import tensorflow as tf

  for kind in ("GPU", "TPU"):
    try:
      tf.config.set_visible_devices([], kind)
    except RuntimeError:
      pass  # someone used TensorFlow before us, and the choice is made
  return tf
