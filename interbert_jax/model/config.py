"""The shape of the model: one frozen dataclass and a table of sizes."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from interbert_jax.contract import json_file
from interbert_jax.contract.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class LayerShape:
  """What one Transformer layer of a stack looks like."""

  hidden_size: int
  num_heads: int
  mlp_dim: int
  hidden_dropout: float
  attention_dropout: float
  initializer_range: float
  dtype: str
  remat: str


@dataclasses.dataclass(frozen=True)
class InterBertConfig:
  """InterBERT (arXiv 2003.13198); the defaults are the published base model.

  The interaction and text layers share one shape, the region layers have
  their own number of heads, MLP width and dropout.
  """

  vocab_size: int = 30522
  hidden_size: int = 768
  num_interaction_layers: int = 6
  num_text_layers: int = 6
  num_region_layers: int = 6
  num_heads: int = 12
  region_num_heads: int = 8
  mlp_dim: int = 3072
  region_mlp_dim: int = 3072
  max_position_embeddings: int = 512
  type_vocab_size: int = 2
  region_feature_dim: int = 2048
  num_region_classes: int = 1601
  region_target: str = "classes"  # predicted of regions; "features", "both"
  pooler_dim: int = 1024
  fusion: str = "product"  # of the two pooled vectors, or "sum"
  hidden_dropout: float = 0.1
  attention_dropout: float = 0.1
  region_hidden_dropout: float = 0.2
  region_attention_dropout: float = 0.1
  pooled_dropout: float = 0.1  # of the fused vector; a constant officially
  initializer_range: float = 0.02
  dtype: str = "float32"  # of the computation; parameters are float32
  remat: str = "none"  # what is computed again for the backward pass

  def __post_init__(self):
    for name, allowed in (
      ("region_target", ("classes", "features", "both")),
      ("fusion", ("product", "sum")),
      ("dtype", ("float32", "bfloat16", "float16")),
      ("remat", ("none", "full", "dots")),
    ):
      value = getattr(self, name)
      if value not in allowed:
        raise ConfigError(f"{name} is {value!r}; wanted one of {allowed}")
    for name in ("num_heads", "region_num_heads"):
      if self.hidden_size % getattr(self, name):
        raise ConfigError(
          f"hidden_size {self.hidden_size} cannot be split into {name} "
          f"{getattr(self, name)} equal heads"
        )

  def check_text_length(self, length: int) -> None:
    """Refuses texts of more slots than there are positions."""
    if length > self.max_position_embeddings:
      raise ConfigError(
        f"{length} text slots (input.max_text_length), but "
        f"model.max_position_embeddings is {self.max_position_embeddings}; "
        "lower the first or raise the second"
      )

  @property
  def text_layer(self) -> LayerShape:
    """Of the interaction layers and the text stream."""
    return LayerShape(
      self.hidden_size,
      self.num_heads,
      self.mlp_dim,
      self.hidden_dropout,
      self.attention_dropout,
      self.initializer_range,
      self.dtype,
      self.remat,
    )

  @property
  def region_layer(self) -> LayerShape:
    """Of the region stream."""
    return LayerShape(
      self.hidden_size,
      self.region_num_heads,
      self.region_mlp_dim,
      self.region_hidden_dropout,
      self.region_attention_dropout,
      self.initializer_range,
      self.dtype,
      self.remat,
    )

  @property
  def region_output_dim(self) -> int:
    if self.region_target == "features":
      return self.region_feature_dim
    return self.num_region_classes


# tiny is for tests; base is the official configuration; large has the layer
# shape of BERT-large and the layer split of base, doubled.
SIZES: dict[str, dict[str, Any]] = {
  "tiny": dict(
    hidden_size=32,
    num_interaction_layers=2,
    num_text_layers=1,
    num_region_layers=1,
    num_heads=4,
    region_num_heads=2,
    mlp_dim=64,
    region_mlp_dim=64,
    max_position_embeddings=64,
    pooler_dim=32,
  ),
  "base": {},
  "large": dict(
    hidden_size=1024,
    num_interaction_layers=12,
    num_text_layers=12,
    num_region_layers=12,
    num_heads=16,
    region_num_heads=16,
    mlp_dim=4096,
    region_mlp_dim=4096,
  ),
}


def make_config(size: str = "base", **changes: Any) -> InterBertConfig:
  """A named size with some fields changed; None leaves a field as it is."""
  if size not in SIZES:
    raise ConfigError(f"model size {size!r} is unknown; sizes: {list(SIZES)}")
  known = {field.name for field in dataclasses.fields(InterBertConfig)}
  unknown = sorted(set(changes) - known)
  if unknown:
    raise ConfigError(
      f"unknown model fields {unknown}; fields: {sorted(known)}"
    )
  changes = {k: v for k, v in changes.items() if v is not None}
  return InterBertConfig(**{**SIZES[size], **changes})


# Official name -> ours. The official code never reads the other keys of its
# file that touch the model (pooling_method, conv_layer, max_*_length, ...).
_OFFICIAL_NAMES = {
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
  source: Mapping[str, Any] | str | pathlib.Path, **changes: Any
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
    ours: raw[theirs]
    for theirs, ours in _OFFICIAL_NAMES.items()
    if theirs in raw
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
  return checked_config({**values, **changes}, name=name)


_MAX_SIZE = 1 << 24  # of any dimension that a file may ask for


def checked_config(fields: Mapping[str, Any], *, name: str) -> InterBertConfig:
  """A model that a file describes: fields of the right types, sane sizes.

  Raises:
    ConfigError: naming the file and the field.
  """
  for field in dataclasses.fields(InterBertConfig):
    value = fields.get(field.name, field.default)
    if isinstance(field.default, int):
      good, wanted = type(value) is int and 0 <= value <= _MAX_SIZE, "a size"
    elif isinstance(field.default, float):
      good, wanted = type(value) in (int, float) and 0 <= value <= 1, "0 to 1"
    else:
      good, wanted = isinstance(value, str), "a word"
    if not good:
      raise ConfigError(
        f"{name}: {field.name} is {type(value).__name__} {_show(value)}, "
        f"wanted {wanted}"
      )
  for heads in ("num_heads", "region_num_heads"):
    if not fields.get(heads, 1):
      raise ConfigError(f"{name}: {heads} is 0; wanted 1 or more")
  try:
    return InterBertConfig(**fields)
  except ConfigError as error:
    raise ConfigError(f"{name}: {error}") from None


def _show(value: Any) -> str:
  try:
    return f"{value!r:.60}"
  except ValueError:
    return "of very many digits"


def official_config(config: InterBertConfig) -> dict[str, Any]:
  """The official JSON configuration, which `config_from_official` undoes.

  The dropout of the fused vector and the compute type have no key there.
  """
  return {
    **{
      theirs: getattr(config, ours) for theirs, ours in _OFFICIAL_NAMES.items()
    },
    "hidden_act": "gelu",
    "v_hidden_act": "gelu",
    "v_hidden_size": config.hidden_size,
    "v_initializer_range": config.initializer_range,
    "v_target_size": config.num_region_classes,
    "fusion_method": "mul" if config.fusion == "product" else "sum",
    "predict_feature": config.region_target == "features",
  }
