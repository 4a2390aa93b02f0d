"""A Hugging Face BERT as the start of the text side.

Text embeddings, MLM head and layers have the official InterBERT's names, which
were BERT's; only which layer goes where has to be said. Text alone then passes
the interaction and text layers exactly as it passes the BERT.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from interbert_jax.contract import json_file
from interbert_jax.contract.errors import CheckpointError, ConfigError
from interbert_jax.model.config import InterBertConfig
from interbert_jax.weights.official_names import TIED, TIED_TO, official_tensors
from interbert_jax.weights.source import WORDS, WeightsSource, beside

# The paths that a BERT can fill.
_PARTS = (
  "encoder/text_embeddings/",
  "encoder/interaction_encoder/",
  "encoder/text_encoder/",
  "encoder/region_encoder/",
  "mlm_head/",
)
_POSITIONS = "encoder/text_embeddings/position_embeddings/embedding"
_MLM_BIAS = "cls.predictions.bias"
_MLM_BIAS_ALIAS = "cls.predictions.decoder.bias"
_GELUS = ("gelu", "gelu_new", "gelu_python", "gelu_fast", "gelu_pytorch_tanh")
_POOLER = "BERT's pooler is a tanh of its own width, this one another function"
_MISSING = {
  "encoder/region_embeddings/": "a BERT has no regions",
  "encoder/region_encoder/": "init.region_layers names no BERT layer for it",
  "encoder/text_pooler/": _POOLER,
  "encoder/region_pooler/": _POOLER,
  "mlm_head/": "the file has no MLM head",
  "": "a BERT has no such head",
}
_UNUSED = {
  "embeddings.position_ids": "a buffer, not a weight",
  "pooler.": _POOLER,
  "cls.seq_relationship.": "it predicts the next sentence, not a match",
  "": "no part of a BERT that this model has",
}


def bert_source(
  state_dict: Mapping[str, np.ndarray],
  config: InterBertConfig,
  *,
  layers: Sequence[int] = (),
  region_layers: Sequence[int] = (),
) -> WeightsSource:
  """The tensors of a BERT under our paths.

  Args:
    state_dict: names with or without `bert.`.
    config: the model to start.
    layers: BERT layer of every interaction layer and then of every text
      layer, -1 for a random one; empty for all in order.
    region_layers: BERT layer of every region layer; empty for random ones.

  Raises:
    ConfigError: for layers that do not fit.
  """
  prefix = "bert." if f"bert.{WORDS}" in state_dict else ""
  depth = _depth(state_dict, prefix)
  text_layers = _text_layers(layers, config, depth)
  _check_layers(region_layers, config.num_region_layers, depth, "region")
  tensors = [t for t in official_tensors(config) if t.path.startswith(_PARTS)]
  theirs: dict[str, str] = {}  # official name -> name in the file
  missing = dict(_MISSING)
  for tensor in tensors:
    words = tensor.name.split(".")
    if tensor.name.startswith("bert.encoder."):
      kind, index = words[2], int(words[3])
      chosen = text_layers if kind == "layer" else region_layers
      layer = chosen[index] if chosen else -1
      if layer < 0:
        if kind == "layer":
          missing[tensor.path] = "init.layers has -1 here"
        continue
      words[2:4] = "layer", str(layer)
    name = ".".join(words)
    if name.startswith("bert."):
      name = prefix + name.removeprefix("bert.")
    if name == _MLM_BIAS and name not in state_dict:
      name = _MLM_BIAS_ALIAS
    if name in state_dict:
      theirs[tensor.name] = name
    elif tensor.path.startswith("encoder/"):
      raise CheckpointError(
        f"the BERT has no tensor {name}, wanted for {tensor.path}; the file is "
        "not whole"
      )

  values = {}
  for tensor in (t for t in tensors if t.name in theirs):
    name = theirs[tensor.name]
    value = tensor.turn(np.asarray(state_dict[name]))
    rows = config.max_position_embeddings
    if tensor.path == _POSITIONS and len(value) > rows:
      name = f"{name} (the first {rows} of {len(value)} rows)"
      value = value[:rows]
    values[tensor.path] = name, value

  used = set(theirs.values())
  unused = {
    name: _reason_unused(name.removeprefix(prefix), state_dict, prefix)
    for name in state_dict
    if name not in used
  }
  return WeightsSource(values, unused, missing, is_whole=False)


def _depth(state_dict: Mapping[str, Any], prefix: str) -> int:
  start = f"{prefix}encoder.layer."
  layers = {
    name.removeprefix(start).partition(".")[0]
    for name in state_dict
    if name.startswith(start)
  }
  return 1 + max((int(i) for i in layers if i.isdigit()), default=-1)


def _text_layers(
  layers: Sequence[int], config: InterBertConfig, depth: int
) -> Sequence[int]:
  ours = config.num_interaction_layers + config.num_text_layers
  if layers:
    _check_layers(layers, ours, depth, "interaction and text", lowest=-1)
    return layers
  if depth != ours:
    raise ConfigError(
      f"the BERT has {depth} layers, the model "
      f"{config.num_interaction_layers} interaction and "
      f"{config.num_text_layers} text layers; set init.layers to {ours} layers "
      f"from 0 to {depth - 1} (-1 for a random one), or the model's "
      f"num_interaction_layers and num_text_layers to {depth} together"
    )
  return range(depth)


def _check_layers(
  layers: Sequence[int], ours: int, depth: int, stack: str, *, lowest: int = 0
) -> None:
  key = "init.region_layers" if stack == "region" else "init.layers"
  if layers and len(layers) != ours:
    raise ConfigError(
      f"{key} is {tuple(layers)}; wanted {ours} numbers, one for each of the "
      f"{stack} layers"
    )
  if any(type(i) is not int or not lowest <= i < depth for i in layers):
    raise ConfigError(
      f"{key} is {tuple(layers)}; wanted layers of the BERT, {lowest} to "
      f"{depth - 1}"
    )


def _reason_unused(
  name: str, state_dict: Mapping[str, np.ndarray], prefix: str
) -> str:
  if name.startswith("encoder.layer."):
    return "init.layers does not name its layer"
  if name == _MLM_BIAS_ALIAS:
    return f"the same as {_MLM_BIAS}"
  if name == TIED:
    words = state_dict[prefix + TIED_TO.removeprefix("bert.")]
    if np.array_equal(state_dict[name], words):
      return "the word embeddings themselves"
    return "it differs from the word embeddings, to which the head is tied here"
  return next(why for start, why in _UNUSED.items() if name.startswith(start))


def read_bert_config(path: pathlib.Path) -> dict[str, Any] | None:
  """The config.json beside the weights, None where there is none."""
  file = beside(path, "config.json")
  if file is None:
    return None
  return json_file.read_object(file)


def check_bert_config(
  theirs: Mapping[str, Any] | None,
  config: InterBertConfig,
  *,
  path: pathlib.Path,
  with_regions: bool = False,
) -> list[str]:
  """Refuses a BERT that only looks as if it fits; returns notes."""
  if theirs is None:
    return [
      f"no config.json beside {path}: whether it has {config.num_heads} "
      "attention heads could not be checked"
    ]
  problems = [
    f"{key} is {theirs[key]!r}, wanted {wanted}"
    for key, wanted in (
      ("model_type", ("bert",)),
      ("position_embedding_type", ("absolute",)),
      ("hidden_act", _GELUS),
      ("num_attention_heads", (config.num_heads,)),
    )
    if key in theirs and theirs[key] not in wanted
  ]
  if problems:
    raise CheckpointError(
      f"{path}: its config.json does not fit the model: "
      + "; ".join(problems)
      + ". Choose the model by it (config.model.num_heads), or other weights"
    )
  notes = [
    f"{key} is {theirs[key]!r} there and {ours!r} here: outputs differ slightly"
    for key, ours in (("hidden_act", "gelu"), ("layer_norm_eps", 1e-12))
    if theirs.get(key, ours) != ours
  ]
  heads = theirs.get("num_attention_heads", config.region_num_heads)
  if with_regions and heads != config.region_num_heads:
    notes.append(
      f"the region layers cut BERT's matrices into {config.region_num_heads} "
      f"heads, BERT into {heads}: they fit, but attend otherwise"
    )
  return notes
