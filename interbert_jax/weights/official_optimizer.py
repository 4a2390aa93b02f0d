"""The optimiser state of the official pretraining, file and import.

The official BertAdam keeps, for every tensor, `next_m` and `next_v` (running
means of the gradient and of its square, without bias correction) and `step`,
its number of updates. One group holds one tensor, in the order of
named_parameters(); the file has no names.

`convert_torch --optimizer=FILE` keeps them as optimizer.safetensors in the
checkpoint's step directory: m/PATH, v/PATH and step/PATH for every parameter.
"""

import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from interbert_jax.contract.errors import CheckpointError
from interbert_jax.model.config import InterBertConfig
from interbert_jax.weights.official_names import Tensor, official_tensors
from interbert_jax.weights.torch_file import load_torch_file
from interbert_jax.weights.weights_file import read_weights, write_safetensors

FILE = "optimizer.safetensors"


class Moments(NamedTuple):
  """The moments of one parameter, float32, in the shape it has here."""

  m: np.ndarray
  v: np.ndarray
  step: int


def read_official_optimizer(
  path: str | os.PathLike[str], config: InterBertConfig
) -> dict[str, Moments]:
  """Reads optimizer_state_{epoch}.bin: path of our parameter -> moments.

  A tensor that never had an update is zeros at step 0, from where the official
  code would start it.

  Raises:
    CheckpointError: the file is another one, or belongs to another model;
      every difference is listed.
  """
  tree = load_torch_file(path)
  groups, states = _parts(tree, path)
  tensors = official_tensors(config)
  keys = [key for group in groups for key in group]
  if [len(group) for group in groups] != [1] * len(tensors):
    raise CheckpointError(
      f"{path}: {len(groups)} groups with {len(keys)} tensors; wanted "
      f"{len(tensors)} groups of one tensor, which is how the official "
      "pretraining from a BERT saves this model; check the configuration"
    )
  problems: list[str] = []
  moments = {
    tensor.path: _moments(tensor, states.get(key), problems)
    for tensor, key in zip(tensors, keys, strict=True)
  }
  if problems:
    raise CheckpointError(
      f"{path}: does not fit the configuration ({len(problems)} differences):"
      "\n  " + "\n  ".join(problems)
    )
  if len(states.keys() & set(keys)) != len(states):
    raise CheckpointError(
      f"{path}: has states of {len(states)} tensors that its {len(keys)} "
      "groups do not name; it is not the state of one optimiser"
    )
  return moments


def _parts(tree: Any, path) -> tuple[list[list], dict]:
  """(keys of every group's tensors, state by key)."""
  try:
    return [list(g["params"]) for g in tree["param_groups"]], dict(
      tree["state"]
    )
  except (TypeError, KeyError, ValueError) as error:
    keys = sorted(map(str, tree)) if isinstance(tree, dict) else type(tree)
    raise CheckpointError(
      f"{path}: no optimiser state: wanted 'state' and 'param_groups', found "
      f"{str(keys):.200}; the official file is optimizer_state_EPOCH.bin"
    ) from error


def _moments(
  tensor: Tensor, state: Mapping[str, Any] | None, problems: list[str]
) -> Moments | None:
  if state is None:
    zeros = np.zeros(tensor.shape, np.float32)
    return Moments(zeros, zeros.copy(), 0)
  values = []
  for key in ("next_m", "next_v"):
    value = state.get(key) if isinstance(state, dict) else None
    if not isinstance(value, np.ndarray):
      problems.append(f"missing: {key} of {tensor.name}")
    elif value.shape != tensor.torch_shape:
      problems.append(
        f"misshapen: {key} of {tensor.name} is {value.shape}, wanted "
        f"{tensor.torch_shape}"
      )
    else:
      values.append(np.array(tensor.turn(value), np.float32, order="C"))
  step = state.get("step") if isinstance(state, dict) else None
  if type(step) is not int or step < 0:
    problems.append(f"step of {tensor.name} is {step!r:.80}, wanted a count")
  elif len(values) == 2:
    return Moments(*values, step)
  return None


def write_optimizer(
  step_dir: pathlib.Path, moments: Mapping[str, Moments]
) -> pathlib.Path:
  """Writes the file into a checkpoint's step directory."""
  tensors: dict[str, np.ndarray] = {}
  for name, (m, v, step) in moments.items():
    tensors[f"m/{name}"], tensors[f"v/{name}"] = m, v
    tensors[f"step/{name}"] = np.array(step, np.int64)
  write_safetensors(step_dir / FILE, tensors, {"optimizer": "BertAdam"})
  return step_dir / FILE


def read_optimizer(step_dir: pathlib.Path) -> dict[str, Moments] | None:
  """Reads what `write_optimizer` wrote; None where there is none."""
  path = step_dir / FILE
  if not path.is_file():
    return None
  tensors = read_weights(path)
  names = [
    name.removeprefix("step/") for name in tensors if name.startswith("step/")
  ]
  try:
    return {
      name: Moments(
        tensors[f"m/{name}"], tensors[f"v/{name}"], int(tensors[f"step/{name}"])
      )
      for name in names
    }
  except KeyError as error:
    raise CheckpointError(
      f"{path}: lacks {error}; convert the official file again"
    ) from error
