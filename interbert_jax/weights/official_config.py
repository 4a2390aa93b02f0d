"""The official JSON configuration, and models that other files describe."""

import pathlib
from collections.abc import Mapping
from typing import Any

from interbert_jax.contract import json_file
from interbert_jax.contract.errors import ConfigError
from interbert_jax.contract.settings import read
from interbert_jax.model.config import InterBertConfig

# Official name -> ours. The official code never reads the other keys of its
# file that touch the model (pooling_method, conv_layer, max_*_length, ...).
_NAMES = {
  "vocab_size": "vocab_size",
  "hidden_size": "hidden_size",
  "num_hidden_layers": "num_interaction_layers",
  "t_num_hidden_layers": "num_text_layers",
  "v_num_hidden_layers": "num_region_layers",
  "num_attention_heads": "num_heads",
  "v_num_attention_heads": "region_num_heads",
  "intermediate_size": "mlp_dim",
  "v_intermediate_size": "region_mlp_dim",
  "max_position_embeddings": "max_position_embeddings",
  "type_vocab_size": "type_vocab_size",
  "v_feature_size": "region_feature_dim",
  "bi_hidden_size": "pooler_dim",
  "hidden_dropout_prob": "hidden_dropout",
  "attention_probs_dropout_prob": "attention_dropout",
  "v_hidden_dropout_prob": "region_hidden_dropout",
  "v_attention_probs_dropout_prob": "region_attention_dropout",
  "initializer_range": "initializer_range",
}


def config_from_official(
  source: Mapping[str, Any] | str | pathlib.Path,
) -> InterBertConfig:
  """Reads the official JSON configuration (a file or its parsed content).

  Raises:
    ConfigError: for activations or stream widths that InterBERT does not have.
  """
  if isinstance(source, Mapping):
    raw, name = dict(source), "config"
  else:
    name = str(source)
    try:
      raw = json_file.read_object(source)
    except ValueError as error:
      problem = str(error).removeprefix(f"{name}: ")
      raise ConfigError(
        f"{name}: not a JSON configuration: {problem}"
      ) from error
  missing = [
    k for k in ("vocab_size", "hidden_size", "v_feature_size") if k not in raw
  ]
  if missing:
    raise ConfigError(
      f"{name}: keys {missing} are missing; found {sorted(raw)}"
    )
  for key in ("hidden_act", "v_hidden_act"):
    if raw.get(key, "gelu") != "gelu":
      raise ConfigError(f"{name}: {key} is {raw[key]!r}; only 'gelu' is built")
  values = {
    ours: raw[theirs] for theirs, ours in _NAMES.items() if theirs in raw
  }
  if raw.get("v_hidden_size", raw["hidden_size"]) != raw["hidden_size"]:
    raise ConfigError(
      f"{name}: v_hidden_size {raw['v_hidden_size']} differs from hidden_size "
      f"{raw['hidden_size']}; the single stream needs one width"
    )
  fusion = raw.get("fusion_method", "mul")
  if fusion not in ("mul", "sum"):
    raise ConfigError(f"{name}: fusion_method is {fusion!r}; wanted mul or sum")
  values["fusion"] = {"mul": "product", "sum": "sum"}[fusion]
  if raw.get("predict_feature", False):
    values["region_target"] = "features"
  else:
    values["num_region_classes"] = raw.get("v_target_size", 1601)
  try:
    return read(InterBertConfig, values)
  except ConfigError as error:
    raise ConfigError(f"{name}: {error}") from None


def official_config(config: InterBertConfig) -> dict[str, Any]:
  """The official JSON configuration, which `config_from_official` undoes.

  The dropout of the fused vector and the compute type have no key there.
  """
  return {
    **{theirs: getattr(config, ours) for theirs, ours in _NAMES.items()},
    "hidden_act": "gelu",
    "v_hidden_act": "gelu",
    "v_hidden_size": config.hidden_size,
    "v_initializer_range": config.initializer_range,
    "v_target_size": config.region_output_dim,
    "fusion_method": "mul" if config.fusion == "product" else "sum",
    "predict_feature": config.region_target == "features",
  }
