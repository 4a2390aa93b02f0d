"""The flags with which a command runs on several hosts as one."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from absl import flags

from interbert_jax.errors import ConfigError

# They belong to the script that asks for them, so that its --help lists them.
flags.disclaim_key_flags()

_BY_HAND = ("coordinator_address", "num_processes", "process_id")


def define_host_flags() -> None:
  flags.DEFINE_bool(
    "distributed",
    False,
    "Several hosts: found by themselves on TPU, Slurm and Kubernetes, given by "
    "the next three flags elsewhere (docs/pods.md).",
  )
  flags.DEFINE_string("coordinator_address", None, "host:port of process 0.")
  flags.DEFINE_integer("num_processes", None, "How many.")
  flags.DEFINE_integer("process_id", None, "From 0.")
  flags.DEFINE_integer(
    "initialization_timeout",
    300,
    "Seconds in which all processes must have been started.",
    lower_bound=1,
  )
  flags.DEFINE_integer(
    "heartbeat_timeout",
    100,
    "Seconds without a sign of life of a process after which all others end.",
    lower_bound=1,
  )


def join_hosts() -> None:
  """Before anything else asks JAX for a device; without the flags, nothing."""
  found = flags.FLAGS
  if "distributed" not in found:
    return
  given = {name: found[name].value for name in _BY_HAND}
  arguments = host_arguments(found.distributed, given)
  if arguments is None:
    return
  import jax

  seconds = found.initialization_timeout
  with _time_limit(seconds, arguments):
    try:
      jax.distributed.initialize(
        **arguments,
        # JAX ends the process when its own time is up: ours comes first.
        initialization_timeout=2 * seconds + 60,
        heartbeat_timeout_seconds=found.heartbeat_timeout,
      )
    except ValueError as error:
      raise ConfigError(
        f"--distributed: found neither a TPU pod nor Slurm nor Kubernetes "
        f"({error}); elsewhere give --coordinator_address=HOST:PORT, "
        "--num_processes and --process_id, as launch/local.sh does"
      ) from error


def host_arguments(
  distributed: bool, given: Mapping[str, Any]
) -> dict[str, Any] | None:
  """What to tell JAX about the hosts; None where there is only this one.

  Args:
    distributed: whether JAX is to find out what is not given.
    given: the values of the three flags, or None.
  """
  known = {name: value for name, value in given.items() if value is not None}
  if not known:
    return {} if distributed else None
  missing = [f"--{name}" for name in _BY_HAND if name not in known]
  if missing and not distributed:
    raise ConfigError(
      f"found {', '.join(f'--{name}' for name in known)} without "
      f"{', '.join(missing)}; give all three"
    )
  address = known.get("coordinator_address", ":0")
  if not address.rpartition(":")[2].isdigit():
    raise ConfigError(
      f"--coordinator_address is {address!r}; wanted host:port of process 0"
    )
  count, number = known.get("num_processes"), known.get("process_id")
  if count is not None and count < 1:
    raise ConfigError(f"--num_processes is {count}; wanted at least 1")
  if number is not None and (
    number < 0 or (count is not None and number >= count)
  ):
    last = "" if count is None else f" to {count - 1}"
    raise ConfigError(f"--process_id is {number}; wanted 0{last}")
  return known


@contextlib.contextmanager
def _time_limit(seconds: float, arguments: Mapping[str, Any]) -> Iterator[None]:
  """Ends the process if the others do not come; waits in C++ know no end."""

  def end() -> None:
    print(
      f"error: {absence(seconds, arguments, os.environ)}",
      file=sys.stderr,
      flush=True,
    )
    os._exit(2)

  timer = threading.Timer(seconds, end)
  timer.daemon = True
  timer.start()
  try:
    yield
  finally:
    timer.cancel()


def absence(
  seconds: float, arguments: Mapping[str, Any], environ: Mapping[str, str]
) -> str:
  """What to say when some of the processes have not come."""
  count = arguments.get("num_processes") or environ.get("SLURM_NTASKS")
  wanted = f"all {count} processes" if count else "all processes"
  text = (
    f"{wanted} must be running within {seconds:g} s "
    "(--initialization_timeout), and some of them are not, or do not reach "
    f"process 0. Start the same command on every host: {_start_all(environ)}"
  )
  proxies = sorted(name for name in environ if name.lower().endswith("_proxy"))
  if proxies:
    text += (
      f". {', '.join(proxies)} may stand in the way of the connection: "
      "unset them"
    )
  return text


def _start_all(environ: Mapping[str, str]) -> str:
  if "SLURM_JOB_ID" in environ:
    return "srun python main.py ... --distributed (launch/slurm.sh)"
  if "KUBERNETES_SERVICE_HOST" in environ:
    return "as many pods as processes (launch/jobset.sh, launch/xpk.sh)"
  if any(name in environ for name in ("TPU_NAME", "TPU_WORKER_HOSTNAMES")):
    return (
      "gcloud compute tpus tpu-vm ssh NAME --worker=all --command='python "
      "main.py ... --distributed' (launch/tpu_pod.sh start)"
    )
  return (
    "with --process_id=0, 1, ... and the same --coordinator_address "
    "(launch/local.sh N on one machine)"
  )
