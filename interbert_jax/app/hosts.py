"""Several hosts as one: the flags, the joining, and what ends it.

docs/pods.md is for users. Three things are added to `jax.distributed`: mistakes
are one line, a process says which others have not come before JAX ends it, and
a process that loses another one says so and does not wait at its exit.
"""

import contextlib
import dataclasses
import importlib.util
import os
import re
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from interbert_jax.contract.command import asks_for_traceback
from interbert_jax.contract.errors import ConfigError, UserError
from interbert_jax.contract.settings import Settings, setting

if TYPE_CHECKING:
  from interbert_jax.app import last_words

_LEAVE_SECONDS = 3  # for the others to reach the same error
# JAX has no type of error for a lost process: collectives raise RuntimeError
# or ValueError, whose texts come from Gloo, NCCL or the coordination service.
_LOST = re.compile(
  r"Gloo|NCCL|heartbeat|[Cc]oordination ?[Ss]ervice|Socket closed"
  r"|Connection (reset|closed|refused)|UNAVAILABLE|DEADLINE_EXCEEDED"
)

# Process, count, address and heartbeat, once this process has joined others.
_joined: dict[str, Any] = {}
_watcher: "last_words.Watcher | None" = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class HostSettings(Settings):
  """The flags of a command that may be one of several; each field is one."""

  distributed: bool = setting(
    False,
    "Several hosts: found by themselves on TPU, Slurm and Kubernetes, given by "
    "the next three flags elsewhere.",
  )
  coordinator_address: str | None = setting(None, "HOST:PORT of process 0.")
  num_processes: int | None = setting(
    None, "How many processes there are.", low=1
  )
  process_id: int | None = setting(
    None, "The number of this process, from 0.", low=0
  )
  initialization_timeout: int = setting(
    300, "Seconds to wait for all processes.", low=1
  )
  heartbeat_timeout: int = setting(
    100,
    "Seconds without a sign of life after which a process counts as lost.",
    low=1,
  )

  @property
  def given(self) -> dict[str, Any]:
    """The three flags that say who the processes are."""
    names = ("coordinator_address", "num_processes", "process_id")
    return {name: getattr(self, name) for name in names}

  def check(self) -> Iterator[str]:
    missing = [name for name, value in self.given.items() if value is None]
    if len(missing) == len(self.given):
      return
    if missing:
      yield (
        f"{' and --'.join(missing)} missing: --coordinator_address=HOST:PORT, "
        "--num_processes=N and --process_id=I go together; on TPU, Slurm and "
        "Kubernetes --distributed alone finds them"
      )
      return
    host, _, port = self.coordinator_address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
      yield (
        f"coordinator_address is {self.coordinator_address!r}; wanted "
        "HOST:PORT, the address of process 0 and any port that is free there"
      )
    if self.process_id >= self.num_processes:
      yield (
        f"process_id is {self.process_id}; wanted 0 to "
        f"{self.num_processes - 1}, a different one for each of the "
        f"{self.num_processes} processes"
      )

  def plan(self) -> dict[str, Any] | None:
    """Keywords of `jax.distributed.initialize`, or None to stay alone."""
    is_given = self.process_id is not None
    if not (is_given or self.distributed):
      return None
    return {
      **(self.given if is_given else {}),
      # Our own limit ends first: `give_up` says more than JAX does.
      "initialization_timeout": self.initialization_timeout + 60,
      "heartbeat_timeout_seconds": self.heartbeat_timeout,
    }


def cluster(environ: Mapping[str, str], *, tpu: bool) -> str:
  """What kind of machine this is: tpu, slurm, kubernetes or empty."""
  if "KUBERNETES_SERVICE_HOST" in environ:
    return "kubernetes"
  if "SLURM_JOB_ID" in environ:
    return "slurm"
  return "tpu" if tpu else ""


def start_command(kind: str, count: int | None) -> str:
  """How all processes are started, for a message."""
  number = "N" if count is None else count
  return {
    "tpu": "gcloud compute tpus tpu-vm ssh NAME --zone=ZONE --worker=all "
    '--command "cd interbert-jax && python main.py ... --distributed" '
    "(launch/tpu_pod.sh start does that)",
    "slurm": f"srun --ntasks={number} --kill-on-bad-exit=1 python main.py ... "
    "--distributed (launch/slurm.sh does that)",
    "kubernetes": "launch/jobset.yaml, or xpk (docs/pods.md); `kubectl get "
    "pods` shows which do not run",
  }.get(
    kind,
    f"launch/local.sh {number} python main.py ... on one machine; on several "
    "the same command on each, with --process_id from 0 to "
    f"{number if count is None else count - 1}",
  )


def absent_words(
  *,
  seconds: int,
  known: Mapping[str, Any],
  kind: str,
  environ: Mapping[str, str],
) -> str:
  """The message when not all processes have come; `_counts` makes `known`."""
  process, count, address = (known[k] for k in ("process", "count", "address"))
  me = "this process" if process is None else f"this is process {process}"
  wanted = "all hosts" if count is None else f"all {count} processes"
  words = f"{wanted} must start, and not all did within {seconds} s; {me}"
  if address and process != 0:
    from interbert_jax.app import last_words

    says = "answers" if last_words.answers(address) else "does not answer"
    words += f", and process 0, at {address}, {says}"
  words += f".\nThis starts all of them: {start_command(kind, count)}"
  proxies = sorted(
    name
    for name in environ
    if name.lower().endswith("_proxy") and name.lower() != "no_proxy"
  )
  if proxies:
    words += (
      f"\n{', '.join(proxies)} {'is' if len(proxies) == 1 else 'are'} set, "
      "which can keep hosts apart: unset, or add the hosts to no_proxy"
    )
  return f"{words}\nTo wait longer: --initialization_timeout=SECONDS"


def _is_tpu() -> bool:
  """As JAX sees it, roughly: the library, and chips."""
  return importlib.util.find_spec("libtpu") is not None and any(
    os.path.exists(path) for path in ("/dev/accel0", "/dev/vfio/0")
  )


def _counts(plan: Mapping[str, Any], kind: str) -> dict[str, Any]:
  """Process, count and address as far as they are known beforehand."""
  process, count = plan.get("process_id"), plan.get("num_processes")
  if count is None and kind == "slurm":
    process, count = (
      int(value) if (value := os.environ.get(name, "")).isdecimal() else None
      for name in ("SLURM_PROCID", "SLURM_NTASKS")
    )
  return {
    "process": process,
    "count": count,
    "address": plan.get("coordinator_address"),
  }


def join_hosts(settings: HostSettings) -> None:
  """Comes before anything asks JAX for a device; does nothing for one host."""
  plan = settings.plan()
  if plan is None:
    return
  from interbert_jax.app import last_words

  global _watcher
  # Before JAX, so that it is told goodbye after JAX has gone.
  _watcher = last_words.Watcher()
  kind = cluster(os.environ, tpu=_is_tpu())
  known = _counts(plan, kind)

  def give_up():
    # From a thread: JAX waits in C++, and would end this process from there.
    words = absent_words(
      seconds=settings.initialization_timeout,
      known=known,
      kind=kind,
      environ=os.environ,
    )
    print(f"error: {words}", file=sys.stderr)
    _exit(2)

  timer = threading.Timer(settings.initialization_timeout, give_up)
  timer.daemon = True
  timer.start()
  try:
    import jax

    jax.distributed.initialize(**plan)
  except ValueError as error:
    if "coordinator_address" in plan:
      raise
    # JAX was to find the others by itself.
    raise ConfigError(_unknown_cluster(kind)) from error
  finally:
    timer.cancel()
  if None in known.values():
    known = _found_by_jax()
  _joined.update(known, heartbeat=settings.heartbeat_timeout)
  _watcher.tell(_joined)


def _found_by_jax() -> dict[str, Any]:
  """As `_counts`, after JAX has joined.

  The address has no public name. `jax.process_index()` has one, but starts the
  devices, which is up to the command.
  """
  from jax._src.distributed import global_state

  return {
    "process": global_state.process_id,
    "count": global_state.num_processes,
    "address": global_state.coordinator_address,
  }


def _unknown_cluster(kind: str) -> str:
  words = {
    "slurm": "this is a Slurm job, but not a step of it: start the command "
    "with srun (launch/slurm.sh does)",
    "kubernetes": "this is Kubernetes, where JAX wants a Job or JobSet and its "
    'own extra: pip install "jax[k8s]" (launch/jobset.yaml is a JobSet)',
  }.get(kind, "no TPU pod, Slurm job or Kubernetes job was found here")
  return (
    f"--distributed: {words}. Elsewhere give every process "
    "--coordinator_address=HOST:PORT --num_processes=N --process_id=I"
  )


def _exit(status: int) -> None:
  """Ends this process without waiting for others in JAX's exit."""
  if _watcher:
    _watcher.goodbye()
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(status)


@contextlib.contextmanager
def leaving() -> Iterator[None]:
  """Ends a process that fails as one of several, at once.

  JAX's own exit would wait minutes for the others, which wait for this one in
  a collective. Where all meet the same error they part in peace.
  """
  try:
    yield
  except SystemExit as stop:
    if _joined and stop.code not in (None, 0):
      if isinstance(stop.code, str):
        print(stop.code, file=sys.stderr)
      _part(stop.code if isinstance(stop.code, int) else 1)
    raise
  except Exception as error:
    if not _joined:
      raise
    if lost_another(error):
      if asks_for_traceback():
        traceback.print_exc()
      cause = str(error).strip().splitlines()[0]
      from interbert_jax.app import last_words

      words = last_words.lost_words(_joined, cause)
      print(f"error: {words}", file=sys.stderr)
      _exit(1)
    traceback.print_exc()
    _part(1)


def lost_another(error: Exception) -> bool:
  """Whether an error that is no mistake of the user means a lost process."""
  return not isinstance(error, OSError | UserError) and bool(
    _LOST.search(str(error))
  )


def _part(status: int) -> None:
  """Leaves with the others where they leave too, else alone."""
  import jax

  leave = threading.Thread(target=jax.distributed.shutdown, daemon=True)
  sys.stderr.flush()
  leave.start()
  leave.join(_LEAVE_SECONDS)
  _exit(status)
