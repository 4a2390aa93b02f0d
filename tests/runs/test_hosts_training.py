"""Two processes with two devices each train as one process with four.

One pair of processes does it all: it begins where one process has stopped and
one process goes on from it, so checkpoints pass 1 -> 2 -> 1.
"""

import json
import shutil

import jax
import numpy as np
import pytest

from interbert_jax.run.metric_writer import read_metrics
from tests.support import pod_training
from tests.support.line_task import saved
from tests.support.pod import finish, start_pod

# Steps 1 and 2 are of one process, 3 and 4 of two, 5 and 6 of one.
RUNS = {
  "replicated": ("jit", "replicated"),
  "zero1": ("jit", "zero1"),
  "fsdp": ("jit", "fsdp"),
  "pmap": ("pmap", "replicated"),
}
# Two processes from the first step on.
FRESH = {"fresh": ("jit", "zero1"), "fresh_pmap": ("pmap", "replicated")}


def job(root, name, steps):
  mode, sharding = {**RUNS, **FRESH}[name]
  return {
    "workdir": str(root / name),
    "steps": steps,
    "mode": mode,
    "sharding": sharding,
  }


def train_here(root, name, steps, **changes):
  """One process with four devices."""
  devices = jax.devices()[:4]
  pod_training.train(**{**job(root, name, steps), **changes}, devices=devices)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
  """All runs up to step 4, and "straight", six steps of one process."""
  root = tmp_path_factory.mktemp("hosts")
  pod_training.write_files(root)
  straight = {"workdir": root / "straight"}
  train_here(root, "replicated", 2, **straight)
  for name in RUNS:
    shutil.copytree(root / "straight", root / name)
  jobs = [job(root, name, 4) for name in (*RUNS, *FRESH)]
  (root / "jobs.json").write_text(json.dumps(jobs))
  pod = start_pod(
    2, "-m", "tests.support.pod_training", root / "jobs.json", devices=2
  )
  first = read_ids(root / "straight.ids-0.json")
  train_here(root, "replicated", 6, **straight)
  rest = read_ids(root / "straight.ids-0.json")
  (root / "straight.json").write_text(json.dumps({**first, **rest}))
  finish(pod)
  return root


def read_ids(path):
  return {int(k): v for k, v in json.loads(path.read_text()).items()}


def numbers(workdir):
  """Of every step and evaluation what is not about time."""
  timing = {"time", "seconds", "examples_per_sec", "data_wait_frac"}
  return {
    (row["step"], "val/loss" in row): {
      key: value for key, value in row.items() if key not in timing
    }
    for row in read_metrics(workdir)
  }


def assert_same_numbers(found, wanted):
  for key, row in found.items():
    assert row == {
      k: pytest.approx(v, rel=1e-5) for k, v in wanted[key].items()
    }


@pytest.mark.parametrize("name", [*RUNS, *FRESH])
def test_the_same_examples(root, name):
  """K9: the rows of both, one behind the other, are those of one."""
  halves = [read_ids(root / f"{name}.ids-{n}.json") for n in (0, 1)]
  steps = range(1 if name in FRESH else 3, 5)
  whole = read_ids(root / "straight.json")
  assert {s: halves[0][s] + halves[1][s] for s in halves[0]} == {
    s: whole[s] for s in steps
  }
  assert len(halves[0][3]) == len(halves[1][3]) == 8
  assert len({*whole[1], *whole[2], *whole[3]}) == 48  # an epoch


@pytest.mark.parametrize("name", [*RUNS, *FRESH])
def test_the_same_losses(root, name):
  found = numbers(root / name)
  assert list(found) == [
    *((1, False), (2, False), (2, True)),
    *((3, False), (4, False), (4, True)),
  ]
  assert_same_numbers(found, numbers(root / "straight"))


@pytest.mark.parametrize("name", RUNS)
def test_one_process_goes_on_from_two(root, name):
  train_here(root, name, 6)
  wanted = numbers(root / "straight")
  assert len(numbers(root / name)) == len(wanted) == 9
  assert_same_numbers(numbers(root / name), wanted)
  for item in ("params", "ema"):
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
      saved(root / name, 6, item),
      saved(root / "straight", 6, item),
    )
