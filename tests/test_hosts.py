"""Commands on several hosts: two processes stand for them."""

import os
import re
import socket
import subprocess
import sys
import time

import pytest

from interbert_jax.errors import ConfigError
from tests.conftest import ROOT
from tests.result_schema import read_result
from tests.scripts import run_script
from tests.tiny_data import write_captions
from tests.tiny_run import write_run
from tools.hosts import absence, host_arguments


def free_port() -> int:
  with socket.socket() as found:
    found.bind(("127.0.0.1", 0))
    return found.getsockname()[1]


def test_two_hosts_score_as_one(tmp_path):
  workdir = write_run(tmp_path, images=11)
  write_captions(tmp_path / "captions.jsonl", train=4, val=7)
  command = ["eval_retrieval.py", f"--workdir={workdir}", "--split=val"]
  told = run_script(*command, f"--output={tmp_path / 'one.json'}").stdout
  one = read_result(told.splitlines()[-1])

  hosts = (
    f"--coordinator_address=127.0.0.1:{free_port()}",
    "--num_processes=2",
    f"--output={tmp_path / 'two.json'}",
  )
  processes = [
    subprocess.Popen(
      [sys.executable, *command, *hosts, f"--process_id={number}"],
      cwd=ROOT,
      env={**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=0"},
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for number in range(2)
  ]
  ends = [process.communicate(timeout=200) for process in processes]
  assert [p.returncode for p in processes] == [0, 0], ends[0][1] + ends[1][1]
  # One of them writes and speaks.
  assert "two.json" in ends[0][0] and "two.json" not in ends[1][0]
  two = read_result(tmp_path / "two.json")
  assert one["n_pairs_scored"] == two["n_pairs_scored"] > 50
  assert two["metrics"] == {
    name: pytest.approx(value) for name, value in one["metrics"].items()
  }


@pytest.mark.parametrize(
  ("distributed", "given", "wanted"),
  [
    (False, (None, None, None), None),
    (True, (None, None, None), {}),
    (False, ("h:1", 2, 1), ("h:1", 2, 1)),
    (True, ("h:1", None, None), ("h:1",)),
  ],
)
def test_what_jax_is_told(distributed, given, wanted):
  names = ("coordinator_address", "num_processes", "process_id")
  found = host_arguments(distributed, dict(zip(names, given, strict=True)))
  if isinstance(wanted, tuple):
    wanted = dict(zip(names, wanted, strict=False))
  assert found == wanted


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    ({"num_processes": 2}, "--num_processes without --coordinator_address, --"),
    (
      {"coordinator_address": "host", "num_processes": 2, "process_id": 0},
      "--coordinator_address is 'host'; wanted host:port of process 0",
    ),
    (
      {"coordinator_address": "h:1", "num_processes": 2, "process_id": 2},
      "--process_id is 2; wanted 0 to 1",
    ),
    (
      {"coordinator_address": "h:1", "num_processes": 0, "process_id": 0},
      "--num_processes is 0; wanted at least 1",
    ),
  ],
)
def test_mistakes_in_the_flags(flags, message):
  with pytest.raises(ConfigError, match=re.escape(message)):
    host_arguments(False, flags)


def start_one(*arguments, **environ):
  """An evaluation that waits for others, with the time that it took."""
  began = time.monotonic()
  done = subprocess.run(
    (sys.executable, "eval_retrieval.py", "--workdir=none", *arguments),
    cwd=ROOT,
    env={**os.environ, **environ},
    capture_output=True,
    text=True,
    timeout=60,
  )
  assert done.returncode == 2, done.stderr
  assert "error: " in done.stderr, done.stderr
  return done.stderr, time.monotonic() - began


@pytest.mark.parametrize("process", [0, 1])
def test_one_of_two_does_not_wait_for_ever(process):
  text, seconds = start_one(
    f"--coordinator_address=127.0.0.1:{free_port()}",
    "--num_processes=2",
    f"--process_id={process}",
    "--initialization_timeout=2",
    https_proxy="http://127.0.0.1:9",
  )
  for part in (
    "all 2 processes must be running within 2 s",
    "launch/local.sh",
    "https_proxy may stand in the way",
  ):
    assert part in text
  assert seconds < 20


def test_slurm_is_found_by_its_variables():
  """JAX takes number and address from them; the other task never comes."""
  text, _ = start_one(
    "--distributed",
    "--initialization_timeout=2",
    SLURM_JOB_ID=str(os.getpid()),
    SLURM_STEP_NODELIST="localhost",
    SLURM_NTASKS="2",
    SLURM_PROCID="0",
    SLURM_LOCALID="0",
  )
  assert "all 2 processes must be running within 2 s" in text
  assert "srun python main.py ... --distributed (launch/slurm.sh)" in text


def test_no_cluster_is_said():
  text, _ = start_one("--distributed")
  assert "found neither a TPU pod nor Slurm nor Kubernetes" in text
  assert "--coordinator_address=HOST:PORT" in text


@pytest.mark.parametrize(
  ("environ", "words"),
  [
    ({"TPU_WORKER_HOSTNAMES": "a,b"}, "--worker=all"),
    ({"KUBERNETES_SERVICE_HOST": "k"}, "launch/jobset.sh"),
    ({"SLURM_JOB_ID": "1"}, "srun"),
    ({}, "launch/local.sh N"),
  ],
)
def test_the_command_that_starts_all_of_them(environ, words):
  assert words in absence(300, {"num_processes": 4}, environ)
