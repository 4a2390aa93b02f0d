r"""Official (PyTorch) InterBERT weights to Flax parameters and back.

No torch is needed: a state dict is a plain dict of arrays. From the shell:

  python -m interbert_jax.convert_torch --input=pytorch_model_14.bin \
      --config=bert_base_6layer_6conect.json --output=checkpoint_dir
  python -m interbert_jax.convert_torch --input=checkpoint_dir \
      --output=model.safetensors

The command itself is in `convert_command`.
"""

import dataclasses
import sys
from collections.abc import Iterator, Mapping

import numpy as np

from interbert_jax.config import InterBertConfig

# The decoder of the MLM head is the word embedding itself.
_TIED = "cls.predictions.decoder.weight"
_TIED_TO = "bert.embeddings.word_embeddings.weight"


@dataclasses.dataclass(frozen=True)
class _Tensor:
  """One tensor: where it is here, where it is there, its shape here."""

  path: str
  name: str
  shape: tuple[int, ...]

  @property
  def transposed(self) -> bool:
    return self.path.endswith("/kernel")  # torch keeps Linear as [out, in]

  @property
  def torch_shape(self) -> tuple[int, ...]:
    return self.shape[::-1] if self.transposed else self.shape


def _linear(path: str, name: str, inputs: int, outputs: int):
  yield _Tensor(f"{path}/kernel", f"{name}.weight", (inputs, outputs))
  yield _Tensor(f"{path}/bias", f"{name}.bias", (outputs,))


def _norm(path: str, name: str, size: int):
  yield _Tensor(f"{path}/scale", f"{name}.weight", (size,))
  yield _Tensor(f"{path}/bias", f"{name}.bias", (size,))


def _layer(path: str, name: str, hidden: int, mlp: int):
  for ours, theirs in (
    ("query", "self.query"),
    ("key", "self.key"),
    ("value", "self.value"),
    ("output", "output.dense"),
  ):
    yield from _linear(
      f"{path}/attention/{ours}", f"{name}.attention.{theirs}", hidden, hidden
    )
  yield from _norm(
    f"{path}/attention_norm", f"{name}.attention.output.LayerNorm", hidden
  )
  yield from _linear(
    f"{path}/mlp_in", f"{name}.intermediate.dense", hidden, mlp
  )
  yield from _linear(f"{path}/mlp_out", f"{name}.output.dense", mlp, hidden)
  yield from _norm(f"{path}/mlp_norm", f"{name}.output.LayerNorm", hidden)


def _transform(path: str, name: str, hidden: int):
  yield from _linear(f"{path}/dense", f"{name}.dense", hidden, hidden)
  yield from _norm(f"{path}/norm", f"{name}.LayerNorm", hidden)


def _pretraining_tensors(c: InterBertConfig) -> Iterator[_Tensor]:
  """Every tensor of InterBertForPretraining, the tied alias left out."""
  d = c.hidden_size
  for table, rows in (
    ("word_embeddings", c.vocab_size),
    ("position_embeddings", c.max_position_embeddings),
    ("token_type_embeddings", c.type_vocab_size),
  ):
    yield _Tensor(
      f"encoder/text_embeddings/{table}/embedding",
      f"bert.embeddings.{table}.weight",
      (rows, d),
    )
  yield from _norm(
    "encoder/text_embeddings/norm", "bert.embeddings.LayerNorm", d
  )
  for ours, theirs, width in (
    ("feature", "image_embeddings", c.region_feature_dim),
    ("location", "image_location_embeddings", 5),
  ):
    yield from _linear(
      f"encoder/region_embeddings/{ours}",
      f"bert.v_embeddings.{theirs}",
      width,
      d,
    )
  yield from _norm(
    "encoder/region_embeddings/norm", "bert.v_embeddings.LayerNorm", d
  )
  # The official encoder keeps interaction and text layers in one list.
  for i in range(c.num_interaction_layers + c.num_text_layers):
    text_index = i - c.num_interaction_layers
    path = (
      f"encoder/interaction_encoder/layer_{i}"
      if text_index < 0
      else f"encoder/text_encoder/layer_{text_index}"
    )
    yield from _layer(path, f"bert.encoder.layer.{i}", d, c.mlp_dim)
  for i in range(c.num_region_layers):
    yield from _layer(
      f"encoder/region_encoder/layer_{i}",
      f"bert.encoder.v_layer.{i}",
      d,
      c.region_mlp_dim,
    )
  for ours, theirs in (("text", "t"), ("region", "v")):
    yield from _linear(
      f"encoder/{ours}_pooler/dense",
      f"bert.{theirs}_pooler.dense",
      d,
      c.pooler_dim,
    )
  yield _Tensor("mlm_head/bias", "cls.predictions.bias", (c.vocab_size,))
  yield from _transform("mlm_head/transform", "cls.predictions.transform", d)
  yield from _transform(
    "region_head/transform", "cls.imagePredictions.transform", d
  )
  yield from _linear(
    "region_head/decoder",
    "cls.imagePredictions.decoder",
    d,
    c.region_output_dim,
  )
  yield from _linear(
    "match_head/dense", "cls.bi_seq_relationship", c.pooler_dim, 2
  )


def _tensors(c: InterBertConfig, num_labels: int | None) -> list[_Tensor]:
  pretraining = list(_pretraining_tensors(c))
  if num_labels is None:
    return pretraining
  tensors = [
    dataclasses.replace(t, path=f"pretraining/{t.path}") for t in pretraining
  ]
  for ours, theirs, width, outputs in (
    ("answer_head", "vil_prediction", c.pooler_dim, num_labels),
    ("choice_head", "vil_logit", c.pooler_dim, 1),
    ("region_choice_head", "vision_logit", c.hidden_size, 1),
    ("token_choice_head", "linguisic_logit", c.hidden_size, 1),
  ):
    tensors += _linear(f"{ours}/dense", theirs, width, outputs)
  return tensors


def _num_labels(names: Mapping[str, object]) -> int | None:
  """The answers of a downstream state dict, None for a pretraining one."""
  head = names.get("vil_prediction.weight")
  return None if head is None else np.shape(head)[0]


def params_from_torch(
  state_dict: Mapping[str, np.ndarray], config: InterBertConfig
) -> dict:
  """Parameters of InterBertForPretraining, or, where the state dict has the
  downstream heads, of InterBertForTasks.

  Raises:
    ValueError: listing every tensor that is missing, surplus or misshapen.
  """
  from flax import traverse_util  # takes a second, too long for --help

  wanted = {t.name: t for t in _tensors(config, _num_labels(state_dict))}
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
    value = value.T if tensor.transposed else value
    params[tuple(tensor.path.split("/"))] = np.array(value, np.float32)
  problems += [
    f"surplus: {name} {np.shape(state_dict[name])}"
    for name in state_dict
    if name not in wanted and name != _TIED
  ]
  if (
    _TIED in state_dict
    and _TIED_TO in state_dict
    and not np.array_equal(state_dict[_TIED], state_dict[_TIED_TO])
  ):
    problems.append(f"untied: {_TIED} differs from {_TIED_TO}")
  if problems:
    raise ValueError(
      f"these weights do not fit the configuration ({len(problems)} "
      "differences):\n  " + "\n  ".join(problems)
    )
  return traverse_util.unflatten_dict(params)


def params_to_torch(
  params: Mapping, config: InterBertConfig
) -> dict[str, np.ndarray]:
  """The official state dict, the tied decoder included.

  Raises:
    ValueError: listing every parameter that is missing, surplus or misshapen.
  """
  from flax import traverse_util  # as above

  flat = traverse_util.flatten_dict(params, sep="/")
  head = flat.get("answer_head/dense/bias")
  wanted = {
    t.path: t for t in _tensors(config, None if head is None else len(head))
  }
  problems = [f"missing: {path}" for path in wanted if path not in flat]
  problems += [f"surplus: {path}" for path in flat if path not in wanted]
  problems += [
    f"misshapen: {path} is {np.shape(flat[path])}, wanted {t.shape}"
    for path, t in wanted.items()
    if path in flat and np.shape(flat[path]) != t.shape
  ]
  if problems:
    raise ValueError(
      f"these parameters do not fit the configuration ({len(problems)} "
      "differences):\n  " + "\n  ".join(problems)
    )
  state_dict = {}
  for path, tensor in wanted.items():
    value = np.asarray(flat[path], np.float32)
    state_dict[tensor.name] = np.ascontiguousarray(
      value.T if tensor.transposed else value
    )
  state_dict[_TIED] = state_dict[_TIED_TO]
  return state_dict


if __name__ == "__main__":
  from interbert_jax.convert_command import main

  sys.exit(main())
