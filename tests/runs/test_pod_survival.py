"""Two processes, which stand for two hosts, stop together and go on as one."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from interbert_jax.checkpoints.checkpoints import Checkpoints
from interbert_jax.contract import json_file
from tests.conftest import ROOT
from tests.interbert_jax.app.test_hosts import free_port
from tests.support.line_task import line_batch
from tests.support.pod_run import HEARTBEAT, TOTAL


def start(workdir, count):
  """Processes of one run with four devices together."""
  port = free_port()
  return [
    subprocess.Popen(
      (sys.executable, "-m", "tests.support.pod_run", workdir)
      + tuple(map(str, (port, count, number))),
      cwd=ROOT,
      env={
        **os.environ,
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={4 // count} "
        "--xla_backend_optimization_level=0",
      },
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for number in range(count)
  ]


def wait_for_step(workdir, step, processes):
  end = time.monotonic() + 100
  while time.monotonic() < end:
    rows = json_file.read_lines(workdir / "examples.jsonl")
    if rows and rows[-1]["step"] >= step:
      return
    if any(process.poll() is not None for process in processes):
      break
    time.sleep(0.02)
  raise AssertionError([p.communicate()[1] for p in processes])


def ends(processes, timeout=60):
  found = [process.communicate(timeout=timeout) for process in processes]
  return [p.returncode for p in processes], found


def saved(workdir):
  with Checkpoints(workdir / "checkpoints", create=False) as checkpoints:
    return checkpoints.steps


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
  """A run of two processes of which one was sent SIGTERM."""
  workdir = tmp_path_factory.mktemp("pod")
  processes = start(workdir, 2)
  wait_for_step(workdir, 25, processes)
  processes[1].send_signal(signal.SIGTERM)
  return workdir, *ends(processes)


def test_both_stop_after_the_same_step(stopped):
  workdir, codes, ((out_0, err_0), (out_1, err_1)) = stopped
  assert codes == [0, 0], err_0 + err_1
  # The last line; above it Gloo tells of its connections.
  step, other = (int(out.split()[-1]) for out in (out_0, out_1))
  assert step == other
  assert 25 <= step < TOTAL
  assert set(saved(workdir)) in ({20, step}, {20, 40, step})
  assert f"preempted at step {step}, saved" in err_0


def test_one_process_goes_on_with_the_next_example(stopped):
  workdir, _, ((out, _), _) = stopped
  step = int(out.split()[-1])
  codes, ((_, err),) = ends(start(workdir, 1))
  assert codes == [0], err
  assert f"from the checkpoint of step {step}" in err
  seen = {}
  for name in ("examples.jsonl", "examples-1.jsonl"):
    for row in json_file.read_lines(workdir / name):
      seen.setdefault(row["step"], []).extend(row["example_ids"])
  assert seen == {
    step + 1: np.asarray(line_batch(step, size=16)["example_id"]).tolist()
    for step in range(TOTAL)
  }


@pytest.mark.parametrize("killed", [0, 1])
def test_the_death_of_one_ends_the_other(tmp_path, killed):
  processes = start(tmp_path, 2)
  wait_for_step(tmp_path, 5, processes)
  processes[killed].kill()
  began = time.monotonic()
  codes, found = ends(processes, timeout=4 * HEARTBEAT)
  assert time.monotonic() - began < 3 * HEARTBEAT
  assert codes[1 - killed] != 0
  assert "another task died" in found[1 - killed][1]
