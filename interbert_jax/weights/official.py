r"""Official (PyTorch) InterBERT weights to Flax parameters and back.

No torch is needed: a state dict is a plain dict of arrays. From the shell:

  python -m interbert_jax.convert_torch --input=pytorch_model_14.bin \
      --config=bert_base_6layer_interbert.json --output=checkpoint_dir
  python -m interbert_jax.convert_torch --input=checkpoint_dir \
      --output=model.safetensors
"""

from collections.abc import Mapping

import numpy as np
from flax import traverse_util

from interbert_jax.checkpoints.stored_step import differences
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
  """Parameters of the pretraining model, or of the downstream one where the
  state dict has its heads.

  Raises:
    CheckpointError: listing every tensor that is missing, surplus or misshapen.
  """
  tensors = official_tensors(config, num_labels(state_dict))
  problems = differences(
    {name: np.shape(v) for name, v in state_dict.items() if name != TIED},
    {tensor.name: tensor.torch_shape for tensor in tensors},
  )
  if not _is_tied(state_dict):
    problems.append(f"untied: {TIED} differs from {TIED_TO}")
  _refuse("weights", problems)
  params = {}
  for tensor in tensors:
    value = tensor.turn(np.asarray(state_dict[tensor.name]))
    params[tensor.path] = np.array(value, np.float32)
  return traverse_util.unflatten_dict(params, sep="/")


def params_to_torch(
  params: Mapping, config: InterBertConfig
) -> dict[str, np.ndarray]:
  """The official state dict, the tied decoder included.

  Raises:
    CheckpointError: lists what is missing, surplus or misshapen.
  """
  flat = traverse_util.flatten_dict(params, sep="/")
  head = flat.get("answer_head/dense/bias")
  tensors = official_tensors(config, None if head is None else len(head))
  problems = differences(
    {path: np.shape(value) for path, value in flat.items()},
    {tensor.path: tensor.shape for tensor in tensors},
  )
  _refuse("parameters", problems)
  state_dict = {
    tensor.name: np.ascontiguousarray(
      tensor.turn(np.asarray(flat[tensor.path], np.float32))
    )
    for tensor in tensors
  }
  state_dict[TIED] = state_dict[TIED_TO]
  return state_dict


def _refuse(what: str, problems: list[str]) -> None:
  if problems:
    raise CheckpointError(
      f"these {what} do not fit the configuration ({len(problems)} "
      "differences):\n  " + "\n  ".join(problems)
    )
