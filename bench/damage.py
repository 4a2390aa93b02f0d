"""Damages every file of a checkpoint in every way, and restores it.

  python -m bench.reliability --only=damage

Beside it, what Orbax alone makes of the same damages.
"""

import logging
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from interbert_jax.checkpoints.checkpoints import Checkpoints
from interbert_jax.checkpoints.settings import CheckpointSettings
from interbert_jax.training.steps import TrainState

KEEP = CheckpointSettings(keep_latest=9, best_metric="")

KINDS = ("delete", "empty", "truncate", "flip", "flip_end")


def damage(path: pathlib.Path, kind: str) -> None:
  """Damages one file; a flip is of one bit, in the middle or near the end."""
  data = bytearray(path.read_bytes())
  if kind == "delete":
    path.unlink()
    return
  if kind == "empty":
    data.clear()
  elif kind == "truncate":
    del data[len(data) // 2 :]
  else:
    place = len(data) // 2 if kind == "flip" else len(data) - 1 - len(data) // 8
    data[place] ^= 16
  path.write_bytes(data)


def _state(step: int) -> TrainState:
  """Arrays that compress badly, as weights do."""
  key = jax.random.key(step)
  zero = jnp.int32(0)
  return TrainState(
    step=jnp.int32(step),
    params={
      "a": jax.random.normal(key, (300, 50)),
      "b": jax.random.normal(key, (7,)),
    },
    opt_state={"mean": jax.random.normal(key, (300, 50)), "count": zero + 3},
    ema=None,
    skipped=zero,
    skipped_in_a_row=zero,
  )


def _write(folder: pathlib.Path) -> None:
  with Checkpoints(folder, KEEP) as checkpoints:
    for step in (10, 20):
      checkpoints.save(_state(step), step=step, meta={"model": {}})


def _equal(state: TrainState, step: int) -> bool:
  wanted = _state(step)
  return all(
    np.array_equal(a, b)
    for a, b in zip(
      jax.tree.leaves((state.params, state.opt_state, state.step)),
      jax.tree.leaves((wanted.params, wanted.opt_state, wanted.step)),
      strict=True,
    )
  )


class _Lines(logging.Handler):
  """What is said of checkpoints."""

  def __init__(self):
    super().__init__()
    self.text = ""

  def emit(self, record):
    self.text += record.getMessage() + "\n"


def _ours(folder: pathlib.Path, name: str) -> dict[str, bool]:
  """What the training loop does with the checkpoints of a folder."""
  lines = _Lines()
  logger = logging.getLogger("interbert_jax.checkpoints")
  logger.addHandler(lines)
  logger.propagate = False
  try:
    with Checkpoints(folder, KEEP) as checkpoints:
      state, meta = checkpoints.restore(_state(0))
  except Exception as error:
    return {"error": True, "named": name in str(error)}
  finally:
    logger.removeHandler(lines)
    logger.propagate = True
  whole = _equal(state, meta["step"])
  said = f"{folder}/20" in lines.text and name in lines.text
  return {
    "silent": not whole,
    "recovered": whole and meta["step"] == 10,
    "harmless": whole and meta["step"] == 20,
    "named": said,
  }


def _orbax(folder: pathlib.Path, name: str) -> dict[str, bool]:
  """What Orbax's manager does when it is asked for the newest step."""
  args, template = ocp.args, _state(0)
  logging.getLogger("absl").setLevel("CRITICAL")
  try:
    with ocp.CheckpointManager(folder) as manager:
      step = manager.latest_step()
      restored = manager.restore(
        step,
        args=args.Composite(
          params=args.StandardRestore(template.params),
          train=args.StandardRestore(
            {
              key: getattr(template, key)
              for key in ("step", "opt_state", "skipped", "skipped_in_a_row")
            }
          ),
          meta=args.JsonRestore(),
        ),
      )
  except Exception as error:
    return {"error": True, "named": pathlib.Path(name).name in str(error)}
  state = template.replace(params=restored["params"], **restored["train"])
  whole = step == 20 and _equal(state, 20) and restored["meta"]["step"] == 20
  return {"silent": not whole, "harmless": whole}


def damage_matrix(folder: pathlib.Path, kinds=KINDS) -> dict[str, dict]:
  """Counts of what becomes of each damage, by who reads.

  Args:
    folder: an empty one, for copies.
    kinds: of damage, each of which every file suffers alone.
  """
  _write(folder / "whole")
  files = sorted(
    path.relative_to(folder / "whole/20").as_posix()
    for path in (folder / "whole/20").rglob("*")
    if path.is_file()
  )
  cases = [(name, kind) for name in files for kind in kinds]
  outcomes = {}
  for reader, restore in (("this code", _ours), ("Orbax alone", _orbax)):
    counts = dict.fromkeys(
      ("silent", "recovered", "harmless", "error", "named"), 0
    )
    for name, kind in cases:
      copy = folder / "copy"
      shutil.copytree(folder / "whole", copy)
      before = (copy / "20" / name).read_bytes()
      damage(copy / "20" / name, kind)
      after = copy / "20" / name
      if not after.exists() or after.read_bytes() != before:
        for key, value in restore(copy, name).items():
          counts[key] += value
      else:  # an empty file that was made empty
        counts["harmless"] += 1
      shutil.rmtree(copy)
    outcomes[reader] = {"damages": len(cases), "files": len(files), **counts}
  return outcomes
