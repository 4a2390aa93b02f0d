r"""Official (PyTorch) InterBERT weights to Flax parameters and back.

No torch is needed: a state dict is a plain dict of arrays. From the shell:

  python -m interbert_jax.convert_torch --input=pytorch_model_14.bin \
      --config=bert_base_6layer_6conect.json --output=checkpoint_dir
  python -m interbert_jax.convert_torch --input=checkpoint_dir \
      --output=model.safetensors
"""

from collections.abc import Mapping

import numpy as np

from interbert_jax.contract.errors import CheckpointError
from interbert_jax.model.config import InterBertConfig
from interbert_jax.weights.official_names import TIED, TIED_TO, official_tensors


def num_labels(names: Mapping[str, object]) -> int | None:
  """The answers of a downstream state dict, None for a pretraining one."""
  head = names.get("vil_prediction.weight")
  return None if head is None else np.shape(head)[0]


def _is_tied(state_dict: Mapping[str, np.ndarray]) -> bool:
  return (
    TIED not in state_dict
    or TIED_TO not in state_dict
    or np.array_equal(state_dict[TIED], state_dict[TIED_TO])
  )


def check_tied(state_dict: Mapping[str, np.ndarray], path: str) -> None:
  """Raises CheckpointError where the MLM decoder has weights of its own."""
  if not _is_tied(state_dict):
    raise CheckpointError(
      f"{path}: {TIED} differs from {TIED_TO}, but the MLM head here has no "
      "matrix of its own; remove one of them from the file"
    )


def params_from_torch(
  state_dict: Mapping[str, np.ndarray], config: InterBertConfig
) -> dict:
  """Parameters of InterBertForPretraining, or, where the state dict has the
  downstream heads, of InterBertForTasks.

  Raises:
    CheckpointError: listing every tensor that is missing, surplus or misshapen.
  """
  from flax import traverse_util  # takes a second, too long for --help

  wanted = {t.name: t for t in official_tensors(config, num_labels(state_dict))}
  problems = []
  params = {}
  for name, tensor in wanted.items():
    if name not in state_dict:
      problems.append(f"missing: {name} {tensor.torch_shape}")
      continue
    value = np.asarray(state_dict[name])
    if value.shape != tensor.torch_shape:
      problems.append(
        f"misshapen: {name} is {value.shape}, wanted {tensor.torch_shape}"
      )
      continue
    params[tuple(tensor.path.split("/"))] = np.array(
      tensor.turn(value), np.float32
    )
  problems += [
    f"surplus: {name} {np.shape(state_dict[name])}"
    for name in state_dict
    if name not in wanted and name != TIED
  ]
  if not _is_tied(state_dict):
    problems.append(f"untied: {TIED} differs from {TIED_TO}")
  if problems:
    raise CheckpointError(
      f"these weights do not fit the configuration ({len(problems)} "
      "differences):\n  " + "\n  ".join(problems)
    )
  return traverse_util.unflatten_dict(params)


def params_to_torch(
  params: Mapping, config: InterBertConfig
) -> dict[str, np.ndarray]:
  """The official state dict, the tied decoder included.

  Raises:
    CheckpointError: lists what is missing, surplus or misshapen.
  """
  from flax import traverse_util  # as above

  flat = traverse_util.flatten_dict(params, sep="/")
  head = flat.get("answer_head/dense/bias")
  wanted = {
    t.path: t
    for t in official_tensors(config, None if head is None else len(head))
  }
  problems = [f"missing: {path}" for path in wanted if path not in flat]
  problems += [f"surplus: {path}" for path in flat if path not in wanted]
  problems += [
    f"misshapen: {path} is {np.shape(flat[path])}, wanted {t.shape}"
    for path, t in wanted.items()
    if path in flat and np.shape(flat[path]) != t.shape
  ]
  if problems:
    raise CheckpointError(
      f"these parameters do not fit the configuration ({len(problems)} "
      "differences):\n  " + "\n  ".join(problems)
    )
  state_dict = {}
  for path, tensor in wanted.items():
    value = np.asarray(flat[path], np.float32)
    state_dict[tensor.name] = np.ascontiguousarray(tensor.turn(value))
  state_dict[TIED] = state_dict[TIED_TO]
  return state_dict
