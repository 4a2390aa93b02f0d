"""How processes join, and what is said when one is missing or lost."""

import subprocess
import sys

import pytest

from interbert_jax.app import hosts, last_words
from interbert_jax.app.hosts import HostSettings
from interbert_jax.contract.errors import ConfigError
from tests.support import pod
from tests.support.scripts import environment, run_python

GIVEN = {
  "coordinator_address": "10.0.0.1:1234",
  "num_processes": 4,
  "process_id": 3,
}


def start(process: int, port: int, *words):
  return pod.start(
    *(sys.executable, "-m", "tests.support.pod_command"),
    *(f"--coordinator_address=127.0.0.1:{port}", "--num_processes=2"),
    *(f"--process_id={process}", *words),
  )


def test_without_flags_a_process_stays_alone():
  assert HostSettings().plan() is None


def test_a_cluster_is_asked_and_flags_are_passed_on():
  times = {"initialization_timeout": 7, "heartbeat_timeout": 9}
  plan = HostSettings(distributed=True, **times).plan()
  # JAX waits longer than we do, since it ends the process without a word.
  assert plan.pop("initialization_timeout") > 7
  assert plan == {"heartbeat_timeout_seconds": 9}
  for distributed in (True, False):
    plan = HostSettings(distributed=distributed, **GIVEN, **times).plan()
    assert GIVEN.items() <= plan.items()


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"process_id": None}, "process_id missing: --coordinator_address=HOST"),
    (
      {"coordinator_address": None, "num_processes": None},
      "coordinator_address and --num_processes missing",
    ),
    ({"process_id": 4}, "process_id is 4; wanted 0 to 3, a different one"),
    ({"process_id": -1}, "process_id is -1; wanted a whole number, 0 or more"),
    (
      {"num_processes": 0},
      "num_processes is 0; wanted a whole number, 1 or more",
    ),
    ({"coordinator_address": "host"}, "address is 'host'; wanted HOST:PORT"),
    ({"coordinator_address": ":80"}, "address is ':80'; wanted HOST:PORT"),
    (
      {"coordinator_address": "a:70000"},
      "address is 'a:70000'; wanted HOST:PORT",
    ),
    (
      {"heartbeat_timeout": 0},
      "heartbeat_timeout is 0; wanted a whole number, 1",
    ),
  ],
)
def test_mistakes_in_the_flags(changes, message):
  with pytest.raises(ConfigError) as caught:
    HostSettings(**{**GIVEN, **changes})
  assert message in str(caught.value)


@pytest.mark.parametrize(
  ("environ", "tpu", "wanted"),
  [
    ({}, True, "gcloud compute tpus tpu-vm ssh NAME --zone=ZONE --worker=all"),
    ({"SLURM_JOB_ID": "7"}, False, "srun --ntasks=4 --kill-on-bad-exit=1"),
    ({"KUBERNETES_SERVICE_HOST": "x"}, False, "launch/jobset.yaml, or"),
    ({}, False, "launch/local.sh 4 python main.py"),
  ],
)
def test_the_command_that_starts_all(environ, tpu, wanted):
  words = hosts.absent_words(
    seconds=300,
    known={"process": 0, "count": 4, "address": None},
    kind=hosts.cluster(environ, tpu=tpu),
    environ={**environ, "HTTPS_PROXY": "http://x", "no_proxy": "y"},
  )
  assert "all 4 processes must start, and not all did within 300 s" in words
  assert wanted in words
  assert "HTTPS_PROXY is set, which can keep hosts apart" in words


def test_one_of_two_alone():
  """L5: our message and status, not JAX's abort."""
  port = pod.free_port()
  alone = [start(n, port + n, "--initialization_timeout=2") for n in (0, 1)]
  errors = [errors for _, errors in pod.ends(*alone)]
  assert [process.returncode for process in alone] == [2, 2], errors
  for n, words in enumerate(errors):
    assert "error: all 2 processes must start" in words
    assert f"this is process {n}" in words
    assert "launch/local.sh 2 python" in words
  assert f"127.0.0.1:{port + 1}, does not answer" in errors[1]


@pytest.mark.parametrize(
  ("environ", "message"),
  [
    ({}, "--distributed: no TPU pod, Slurm job or Kubernetes job was found"),
    ({"SLURM_JOB_ID": "7"}, "a Slurm job, but not a step of it"),
  ],
)
def test_nothing_that_could_be_asked(environ, message):
  words = ("-m", "tests.support.pod_command", "--distributed")
  done = run_python(*words, env={**environment(), **environ})
  assert done.returncode == 2
  assert message in done.stderr and "Traceback" not in done.stderr


KILLED = [(a, v) for a in ("kill", "kill_asleep") for v in (0, 1)]


@pytest.fixture(scope="module")
def killed():
  """The port and the two processes of each case, all started at once.

  A heartbeat may be late on a machine with other work, so that it has time:
  they wait for it side by side.
  """
  found = {}
  for action, victim in KILLED:
    port = pod.free_port()
    words = f"--action={action}", f"--victim={victim}", "--heartbeat_timeout=30"
    found[action, victim] = port, [start(n, port, *words) for n in (0, 1)]
  return found


@pytest.mark.parametrize(("action", "victim"), KILLED)
def test_a_killed_process_is_named_by_the_other(action, victim, killed):
  """C8: in a collective, and between two."""
  port, pair = killed[action, victim]
  errors = [errors for _, errors in pod.ends(*pair)]
  assert pair[victim].returncode == -9, errors
  other = 1 - victim
  assert pair[other].returncode not in (0, 2)
  (line,) = (
    line for line in errors[other].splitlines() if line.startswith("error: ")
  )
  assert line.startswith(f"error: process {other} of 2 stops: ")
  if victim == 0:
    assert f"process 0 (at 127.0.0.1:{port}) is gone" in line
  else:
    assert "process 1" in line.split(";")[0]
  assert "Start all 2 again with the same command" in line


def test_one_process_with_a_mistake_does_not_wait_for_the_other():
  port = pod.free_port()
  words = ("--action=mistake", "--victim=1", "--heartbeat_timeout=3600")
  pair = [start(n, port, *words) for n in (0, 1)]
  errors = [errors for _, errors in pod.ends(*pair)]
  assert pair[1].returncode == 2, errors
  assert "error: a wrong key" in errors[1] and "stops" not in errors[1]
  assert pair[0].returncode == 1
  assert "process 0 of 2 stops: process 1 is gone; JAX says" in errors[0]


def test_a_workdir_of_each_host_is_refused(tmp_path):
  for n in (0, 1):
    (tmp_path / str(n)).mkdir()
  words = ("-m", "tests.support.pod_command", f"--workdir={tmp_path}")
  pod.finish(pod.start_pod(2, *words))
  assert {path.name for path in tmp_path.iterdir()} == {"0", "1"}
  apart = pod.start_pod(2, *words[:2], f"{words[2]}/{{process}}")
  ((_, errors),) = pod.ends(apart)
  assert apart.returncode == 2
  assert errors.count("the workdir is not one directory for all 2") == 2
  assert "it is not to be seen by process 1 (" in errors


def test_errors_that_mean_a_lost_process():
  for text in (
    "UNKNOWN: Gloo AllGather failed: Connection reset by peer",
    "UNAVAILABLE: Failed to send RPC to coordination service",
  ):
    assert hosts.lost_another(RuntimeError(text))
    assert hosts.lost_another(ValueError(text))
  assert not hosts.lost_another(ValueError("shapes differ"))
  assert not hosts.lost_another(OSError("Connection reset by peer"))
  assert not hosts.lost_another(ConfigError("heartbeat"))


def test_last_words_are_spoken_unless_told_goodbye():
  for told, spoken in (
    ("", ""),
    (
      '{"process": 1, "count": 3, "address": "", "heartbeat": 5}\n',
      "unhealthy",
    ),
    ('{"process": 1}\ngoodbye\n', ""),
  ):
    done = subprocess.run(
      (sys.executable, last_words.__file__),
      input=told,
      capture_output=True,
      text=True,
    )
    assert bool(done.stderr) == bool(spoken)
    assert spoken in done.stderr
