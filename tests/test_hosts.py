"""An evaluation by two processes, which stand for two hosts."""

import os
import socket
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.result_schema import read_result
from tests.scripts import run_script
from tests.tiny_data import write_captions
from tests.tiny_run import write_run


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
