"""The parameters of one checkpoint, read or written by themselves."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from interbert_jax.checkpoints import manifest
from interbert_jax.contract.errors import CheckpointError
from interbert_jax.run.environment import versions
from interbert_jax.run.workdir import local_path

_SHOWN_FILES = 3  # damaged files in a message


def load_params(path, item: str = "params") -> tuple[Any, dict]:
  """(parameters as NumPy arrays, meta) of a checkpoint's step directory.

  The item is "params" or "ema", the moving average of them.
  """
  path = epath.Path(path).absolute()
  if not (path / "params").is_dir():
    raise CheckpointError(
      f"{path}: not a checkpoint; wanted a step directory with 'params' in it"
    )
  if not (path / item).is_dir():
    raise CheckpointError(
      f"{path}: has no item {item!r}; its run kept no moving average "
      "(train.ema_decay), so take its parameters (--noema in eval scripts)"
    )
  if problems := manifest.damage(path, items=(item, "meta")):
    raise CheckpointError(
      f"{damage_message(path, problems)}; take another step of {path.parent}, "
      "or restore it from a copy"
    )
  try:
    with ocp.StandardCheckpointer() as checkpointer:
      metadata = checkpointer.metadata(path / item).item_metadata
      if metadata is None:
        raise CheckpointError(
          f"{path / item}: the list of its arrays cannot be read"
        )
      tree = metadata.tree
      check_claimed_size(path / item, tree)
      # A template of NumPy arrays reads on any number of devices.
      template = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), tree)
      params = checkpointer.restore(path / item, template)
      # Downstream models once had the pretraining model inside of them.
      params = {**params.pop("pretraining", {}), **params}
    with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as checkpointer:
      meta = checkpointer.restore(path / "meta")
  except CheckpointError:
    raise
  except Exception as error:
    raise CheckpointError(
      f"{path}: unreadable: {type(error).__name__}: {error}"
    ) from error
  return params, checked_meta(path, meta)


def damage_message(path, problems: Sequence[str]) -> str:
  """Names a damaged step, and the first of its damaged files."""
  more = len(problems) - _SHOWN_FILES
  return f"{path} is damaged: {'; '.join(problems[:_SHOWN_FILES])}" + (
    f"; and {more} more" * (more > 0)
  )


def checked_meta(path, meta: Any) -> dict[str, Any]:
  """The meta of a step; CheckpointError where it is no object, or another's."""
  if not isinstance(meta, dict):
    raise CheckpointError(
      f"{path}: meta is a {type(meta).__name__}, wanted an object"
    )
  if odd := other_step(path, meta):
    raise CheckpointError(odd)
  return meta


def other_step(path, meta: Mapping[str, Any]) -> str:
  """What is wrong where a folder's name is not the step it was saved as."""
  path = epath.Path(path)
  step = meta.get("step")
  if step is None or not path.name.isdigit() or int(path.name) == step:
    return ""
  return (
    f"{path}: holds step {step!r:.20}, so the folder was renamed or swapped; "
    "give it its own name again"
  )


def save_params(path, params, meta: Mapping[str, Any]) -> None:
  """Writes a checkpoint with no training state, for `init_from` and eval."""
  path = epath.Path(path).absolute()
  local_path(path, name="the checkpoint")
  try:
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
      checkpointer.save(
        path,
        args=ocp.args.Composite(
          params=ocp.args.StandardSave(params),
          meta=ocp.args.JsonSave({**meta, "versions": versions()}),
        ),
      )
  except (OSError, ValueError) as error:  # as Orbax and TensorStore have it
    raise CheckpointError(f"{path}: cannot be written: {error}") from error
  manifest.write_manifest(path)


# Files of zeros shrink a thousandfold, files of weights hardly at all.
MAX_RATIO = 100
ALLOWANCE = 64 << 20


def check_claimed_size(folder, tree: Any) -> None:
  """Compares shapes and dtypes with the bytes of the folder's files.

  Args:
    folder: an epath path.
    tree: its leaves have a shape and a dtype.

  Raises:
    CheckpointError: naming the folder.
  """
  claimed = sum(
    math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize
    for leaf in jax.tree.leaves(tree)
  )
  if claimed <= ALLOWANCE:
    return
  size = sum(
    (parent / name).stat().length
    for parent, _, names in folder.walk()
    for name in names
  )
  if claimed > MAX_RATIO * size + ALLOWANCE:
    raise CheckpointError(
      f"{folder}: its arrays claim {claimed} bytes, the files have {size}: "
      "this is no checkpoint of weights"
    )
