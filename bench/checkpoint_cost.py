"""What checkpoints and their checksums cost, at the size of the base model.

  python -m bench.reliability --only=cost

A training state of as many numbers as InterBERT's base model with AdamW has
(three times 157 million, 1.9 GB) is saved and restored.
"""

import concurrent.futures
import multiprocessing
import pathlib
import resource
import tempfile
import time

import jax
import jax.numpy as jnp

from bench.damage import KEEP
from bench.measuring import ROOT
from interbert_jax.checkpoints import manifest
from interbert_jax.checkpoints.checkpoints import Checkpoints
from interbert_jax.training.steps import TrainState

BASE = 157_021_565  # parameters
_ROWS = 4096


def _state(numbers: int) -> TrainState:
  """Three copies of so many numbers, in arrays like those of layers."""
  shape = (numbers // _ROWS // 32, _ROWS)

  def copy(key):
    keys = jax.random.split(key, 32)
    return {str(i): jax.random.normal(k, shape) for i, k in enumerate(keys)}

  zero = jnp.int32(0)
  return TrainState(
    step=zero,
    params=copy(jax.random.key(0)),
    opt_state={
      "mean": copy(jax.random.key(1)),
      "square": copy(jax.random.key(2)),
    },
    ema=None,
    skipped=zero,
    skipped_in_a_row=zero,
  )


def _peak() -> float:
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # GB


def save(folder: pathlib.Path, numbers: int) -> dict[str, float]:
  state = jax.block_until_ready(_state(numbers))
  size = sum(x.nbytes for x in jax.tree.leaves(state))
  costs = {"state_gb": round(size / 1e9, 3), "peak_gb_without": _peak()}
  with Checkpoints(folder, KEEP) as checkpoints:
    checkpoints.save(state, step=1, meta={})  # compiles the check of numbers
    checkpoints.wait()
    began = time.monotonic()
    checkpoints.save(state, step=2, meta={})
    costs["blocking_seconds"] = time.monotonic() - began
    checkpoints.wait()
    costs["seconds_to_disk"] = time.monotonic() - began
  began = time.monotonic()
  costs["gb_on_disk"] = manifest.write_manifest(folder / "2") / 1e9
  costs["checksum_seconds"] = time.monotonic() - began
  return costs


def restore(folder: pathlib.Path, numbers: int) -> dict[str, float]:
  shapes = jax.eval_shape(lambda: _state(numbers))
  sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  template = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), shapes
  )
  began = time.monotonic()
  if damaged := manifest.damage(folder / "2"):
    raise RuntimeError(damaged)
  verified = time.monotonic()
  with Checkpoints(folder, KEEP) as checkpoints:
    state, _ = checkpoints.restore(template)
    jax.block_until_ready(state)
  return {
    "verify_seconds": verified - began,
    "restore_seconds": time.monotonic() - verified,
    "restore_peak_gb": _peak(),
  }


def cost(numbers: int = BASE) -> dict[str, float]:
  """Seconds and GB of a save and a restore, each in a process of its own."""
  costs = {}
  with (
    tempfile.TemporaryDirectory(dir=ROOT) as folder,
    concurrent.futures.ProcessPoolExecutor(
      1, multiprocessing.get_context("spawn"), max_tasks_per_child=1
    ) as pool,
  ):
    for part in (save, restore):
      costs |= pool.submit(part, pathlib.Path(folder), numbers).result()
  return {name: round(value, 3) for name, value in costs.items()}
