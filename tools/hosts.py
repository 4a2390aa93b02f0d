"""The flags with which a command runs on several hosts as one."""

from absl import flags

# They belong to the script that asks for them, so that its --help lists them.
flags.disclaim_key_flags()


def define_host_flags() -> None:
  flags.DEFINE_bool(
    "distributed",
    False,
    "Several hosts: found by themselves on TPU, Slurm and Kubernetes, given by "
    "the next three flags elsewhere.",
  )
  flags.DEFINE_string("coordinator_address", None, "host:port of process 0.")
  flags.DEFINE_integer("num_processes", None, "How many.")
  flags.DEFINE_integer("process_id", None, "From 0.")


def join_hosts() -> None:
  """Before anything else asks JAX for a device; without the flags, nothing."""
  found = flags.FLAGS
  if "distributed" not in found:
    return
  if found.distributed or found.coordinator_address:
    import jax

    jax.distributed.initialize(
      found.coordinator_address, found.num_processes, found.process_id
    )
