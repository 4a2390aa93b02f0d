"""Training by two processes of two devices is that of one process of four."""

import os
import subprocess
import sys

import pytest

from interbert_jax import json_file
from interbert_jax.checkpoint_params import load_params
from interbert_jax.metric_writer import read_metrics
from tests import tiny_data
from tests.conftest import ROOT
from tests.pod_variants import STEPS, WAYS

ONE, TWO = "one", "two"


def run(processes, *command):
  """A command on four devices; it must succeed."""
  done = subprocess.run(
    [ROOT / "launch/local.sh", str(processes)]
    + [f"--devices={4 // processes}", sys.executable, *map(str, command)],
    cwd=ROOT,
    env={**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=0"},
    capture_output=True,
    text=True,
    timeout=200,
  )
  assert done.returncode == 0, done.stderr


def ids(workdir):
  """The examples of all steps, whichever process has read them."""
  found = {}
  for name in ("examples.jsonl", "examples-1.jsonl"):
    for row in json_file.read_lines(workdir / name):
      found.setdefault(row["step"], []).extend(row["example_ids"])
  return found


def losses(workdir):
  return [
    {key: value for key, value in row.items() if "loss" in key}
    for row in read_metrics(workdir)
    if "loss" in row
  ]


def assert_same(one, two, steps):
  assert list(ids(one)) == list(range(1, steps + 1))
  assert ids(one) == ids(two)
  assert len(losses(one)) == steps
  for a, b in zip(losses(one), losses(two), strict=True):
    assert a == pytest.approx(b, rel=2e-6)


@pytest.fixture(scope="module")
def variants(tmp_path_factory):
  folder = tmp_path_factory.mktemp("variants")
  run(1, "-m", "tests.pod_variants", folder / ONE)
  run(2, "-m", "tests.pod_variants", folder / TWO)
  return folder


@pytest.mark.parametrize(("mode", "sharding"), WAYS)
def test_every_way_is_the_same_by_two(mode, sharding, variants):
  name = f"{mode}_{sharding}"
  workdirs = [variants / number / name for number in (ONE, TWO)]
  assert_same(*workdirs, STEPS)
  for item in ("params", "ema"):
    trees = [
      load_params(workdir / f"checkpoints/{STEPS}", item)[0]
      for workdir in workdirs
    ]
    assert trees[0]["wide"] == pytest.approx(trees[1]["wide"], rel=1e-5)


def test_the_command_by_two_processes(tmp_path):
  """main.py, from files, with an evaluation at the end."""
  tiny_data.write_tiny_store(tmp_path / "store", tiny_data.make_records(24))
  tiny_data.write_captions(tmp_path / "captions.jsonl", train=16, val=8)
  tiny_data.write_vocab(tmp_path / "vocab.txt")
  for processes, name in ((1, ONE), (2, TWO)):
    run(
      processes,
      "main.py",
      "--config=configs/quickstart.py",
      f"--workdir={tmp_path / name}",
      f"--config.input.store={tmp_path / 'store'}",
      f"--config.input.annotations={tmp_path / 'captions.jsonl'}",
      f"--config.input.vocab={tmp_path / 'vocab.txt'}",
      "--config.train.batch_size=16",
      "--config.task.group_size=4",
      "--config.optim.warmup_steps=1",
      "--config.model.hidden_size=16",
      "--config.model.num_interaction_layers=1",
      "--config.evals.batch_size=8",
      "--config.evals.retrieval_images=0",
      "--config.parallel.sharding=zero1",
      "--config.train.log_every=1",
      "--config.train.log_examples=True",
      "--config.train.steps=6",
    )
  assert_same(tmp_path / ONE, tmp_path / TWO, 6)
  rows = [
    [row for row in read_metrics(tmp_path / name) if "val/loss" in row][-1]
    for name in (ONE, TWO)
  ]
  for key in rows[0].keys() - {"time"}:
    assert rows[0][key] == pytest.approx(rows[1][key], rel=1e-4), key
