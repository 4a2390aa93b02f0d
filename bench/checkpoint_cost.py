"""What checkpoints and their checksums cost, at the size of the base model.

  python bench/checkpoint_cost.py

A training state of as many numbers as InterBERT's base model with AdamW has
(three times 157 million, 1.9 GB) is saved and restored.
"""

import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import jax
import jax.numpy as jnp

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from bench.measuring import ROOT, make_parser
from interbert_jax.checkpoints import manifest
from interbert_jax.checkpoints.checkpoints import Checkpoints
from interbert_jax.checkpoints.settings import CheckpointSettings
from interbert_jax.training.steps import TrainState

KEEP = CheckpointSettings(keep_latest=9, best_metric="")

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
  found = {"state_gb": round(size / 1e9, 3), "peak_gb_without": _peak()}
  with Checkpoints(folder, KEEP) as checkpoints:
    checkpoints.save(state, step=1, meta={})  # compiles the check of numbers
    checkpoints.wait()
    began = time.monotonic()
    checkpoints.save(state, step=2, meta={})
    found["blocking_seconds"] = time.monotonic() - began
    checkpoints.wait()
    found["seconds_to_disk"] = time.monotonic() - began
  began = time.monotonic()
  found["gb_on_disk"] = manifest.write_manifest(folder / "2") / 1e9
  found["checksum_seconds"] = time.monotonic() - began
  return found


def restore(folder: pathlib.Path, numbers: int) -> dict[str, float]:
  shapes = jax.eval_shape(lambda: _state(numbers))
  sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  template = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), shapes
  )
  found = {}
  began = time.monotonic()
  if found_damage := manifest.damage(folder / "2"):
    raise RuntimeError(found_damage)
  found["verify_seconds"] = time.monotonic() - began
  began = time.monotonic()
  with Checkpoints(folder, KEEP) as checkpoints:
    state, _ = checkpoints.restore(template)
    jax.block_until_ready(state)
  found["restore_seconds"] = time.monotonic() - began
  found["restore_peak_gb"] = _peak()
  return found


def cost(numbers: int = BASE) -> dict[str, float]:
  """Seconds and GB of a save and a restore, each in a process of its own."""
  found = {}
  with tempfile.TemporaryDirectory(dir=ROOT) as folder:
    for part in ("save", "restore"):
      done = subprocess.run(  # nosec B603 # our own script
        (sys.executable, __file__, "--part", part, "--folder", folder)
        + ("--numbers", str(numbers)),
        stdout=subprocess.PIPE,
        check=True,
        text=True,
      )
      found |= json.loads(done.stdout.splitlines()[-1])
  return {name: round(value, 3) for name, value in found.items()}


def main():
  parser = make_parser(__doc__)
  parser.add_argument("--part", choices=("save", "restore"))
  parser.add_argument("--folder", type=pathlib.Path)
  parser.add_argument("--numbers", type=int, default=BASE)
  args = parser.parse_args()
  if args.part:
    found = {"save": save, "restore": restore}[args.part](
      args.folder, args.numbers
    )
  else:
    found = cost(args.numbers)
  print(json.dumps(found, indent=None if args.part else 2))


if __name__ == "__main__":
  main()
