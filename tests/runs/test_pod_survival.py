"""Two processes, which stand for two hosts, stop together and go on as one."""

import signal
import sys

import numpy as np
import pytest

from interbert_jax.checkpoints.checkpoints import Checkpoints
from interbert_jax.contract import json_file
from tests.support import pod
from tests.support.line_task import line_batch
from tests.support.pod_run import PAUSE, TOTAL
from tests.support.scripts import wait_for


def start(workdir, count):
  """Processes of one run with four devices together."""
  port = pod.free_port()
  words = (sys.executable, "-m", "tests.support.pod_run", workdir, port, count)
  flags = f"--xla_force_host_platform_device_count={4 // count}"
  env = {"XLA_FLAGS": f"{flags} --xla_backend_optimization_level=0"}
  return [pod.start(*words, number, env=env) for number in range(count)]


def wait_for_step(workdir, step, processes):
  def is_there():
    rows = json_file.read_rows(workdir / "examples.jsonl")
    return rows and rows[-1]["step"] >= step

  wait_for(is_there, *processes)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
  """A run of two processes of which one was sent SIGTERM."""
  workdir = tmp_path_factory.mktemp("pod")
  processes = start(workdir, 2)
  wait_for_step(workdir, 25, processes)
  processes[1].send_signal(signal.SIGTERM)
  (workdir / "go").touch()
  found = pod.ends(*processes)
  assert [p.returncode for p in processes] == [0, 0], found
  return workdir, found


def test_both_stop_after_the_same_step(stopped):
  workdir, ((out_0, err_0), (out_1, _)) = stopped
  # The last line; above it Gloo tells of its connections.
  step, other = (int(out.split()[-1]) for out in (out_0, out_1))
  assert step == other
  assert 25 <= step < TOTAL
  with Checkpoints(workdir / "checkpoints", create=False) as checkpoints:
    assert set(checkpoints.steps) == {*range(20, step, 20), step}
  assert f"preempted at step {step}, saved" in err_0


def test_one_process_goes_on_with_the_next_example(stopped):
  workdir, ((out, _), _) = stopped
  step = int(out.split()[-1])
  _, err = pod.finish(*start(workdir, 1))
  assert f"from the checkpoint of step {step}" in err
  seen = {}
  for name in ("examples.jsonl", "examples-1.jsonl"):
    for row in json_file.read_rows(workdir / name):
      seen.setdefault(row["step"], []).extend(row["example_ids"])
  assert seen == {
    step + 1: np.asarray(line_batch(step, size=16)["example_id"]).tolist()
    for step in range(TOTAL)
  }


@pytest.mark.parametrize("killed", [0, 1])
def test_the_death_of_one_ends_the_other(tmp_path, killed):
  processes = start(tmp_path, 2)
  wait_for_step(tmp_path, PAUSE - 5, processes)
  processes[killed].kill()
  found = pod.ends(*processes)  # it would wait for ever
  assert processes[1 - killed].returncode != 0
  assert "another task died" in found[1 - killed][1]
