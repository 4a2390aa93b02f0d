"""TensorFlow as a host library: reads, decodes, and sees no accelerator."""


def host_tensorflow():
  """Imports TensorFlow with accelerators hidden, so that JAX has them alone."""
  import tensorflow as tf

  for kind in ("GPU", "TPU"):
    try:
      tf.config.set_visible_devices([], kind)
    except RuntimeError:
      pass  # someone used TensorFlow before us, and the choice is made
  return tf
