"""The shape of the model: one frozen dataclass and a table of sizes."""

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from interbert_jax.contract.errors import CheckpointError, ConfigError
from interbert_jax.contract.settings import Settings, read, rules_of, setting


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


# Files of strangers describe models too: no dimension may be absurd.
_MAX_SIZE = 1 << 24


def _size(default: int, about: str, *, low: int = 1) -> Any:
  return setting(default, about, low=low, high=_MAX_SIZE)


def _dropout(default: float, about: str) -> Any:
  return setting(default, about, low=0, below=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class InterBertConfig(Settings):
  """InterBERT (arXiv 2003.13198); the defaults are the published base model.

  The interaction and text layers share one shape, the region layers have
  their own number of heads, MLP width and dropout.

  A new field needs a default that means the model as it was before: files
  that lack the field are read with it.
  """

  section: ClassVar[str] = "model"

  vocab_size: int = _size(30522, "words; unset: those of the vocabulary")
  hidden_size: int = _size(768, "width of all layers")
  num_interaction_layers: int = _size(
    6, "layers of the single stream of regions and words", low=0
  )
  num_text_layers: int = _size(6, "layers of the text stream", low=0)
  num_region_layers: int = _size(6, "layers of the region stream", low=0)
  num_heads: int = _size(12, "attention heads of interaction and text layers")
  region_num_heads: int = _size(8, "attention heads of region layers")
  mlp_dim: int = _size(3072, "MLP width of interaction and text layers")
  region_mlp_dim: int = _size(3072, "MLP width of region layers")
  max_position_embeddings: int = _size(512, "longest text, in tokens")
  type_vocab_size: int = _size(2, "token types; 2 for texts in pairs")
  region_feature_dim: int = _size(
    2048, "width of a region's feature; unset: that of the store"
  )
  num_region_classes: int = _size(
    1601, "classes predicted of regions; unset: those of the store"
  )
  region_target: str = setting(
    "classes",
    "what is predicted of regions; follows from the task's losses",
    choices=("classes", "features", "both"),
  )
  pooler_dim: int = _size(1024, "width of the two pooled vectors")
  fusion: str = setting(
    "product",
    "how the two pooled vectors become one: product or sum",
    choices=("product", "sum"),
  )
  hidden_dropout: float = _dropout(
    0.1, "dropout of embeddings, interaction and text layers"
  )
  attention_dropout: float = _dropout(
    0.1, "dropout of attention in interaction and text layers"
  )
  region_hidden_dropout: float = _dropout(0.2, "dropout of region layers")
  region_attention_dropout: float = _dropout(
    0.1, "dropout of attention in region layers"
  )
  pooled_dropout: float = _dropout(
    0.1, "dropout of the fused vector; a constant in the official code"
  )
  initializer_range: float = setting(
    0.02, "standard deviation of random matrices", above=0
  )
  dtype: str = setting(
    "float32",
    "type of the computation; parameters are float32",
    choices=("float32", "bfloat16", "float16"),
  )
  matmul_precision: str = setting(
    "float32",
    "precision of products of float32 matrices, on every device: float32, or "
    "less for speed, tensorfloat32 (GPUs; three passes on TPUs) or bfloat16; a "
    "16-bit dtype has its own",
    choices=("float32", "tensorfloat32", "bfloat16"),
  )
  remat: str = setting(
    "none",
    "what the backward pass computes again to save memory: none, full (whole "
    "layers) or dots (all but matrix products)",
    choices=("none", "full", "dots"),
  )

  def check(self) -> Iterator[str]:
    for name in ("num_heads", "region_num_heads"):
      if self.hidden_size % getattr(self, name):
        yield (
          f"model.hidden_size {self.hidden_size} cannot be split into {name} "
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
    """The shape of the interaction layers and of the text stream."""
    return self._layer(
      num_heads=self.num_heads,
      mlp_dim=self.mlp_dim,
      hidden_dropout=self.hidden_dropout,
      attention_dropout=self.attention_dropout,
    )

  @property
  def region_layer(self) -> LayerShape:
    """The shape of the region stream's layers."""
    return self._layer(
      num_heads=self.region_num_heads,
      mlp_dim=self.region_mlp_dim,
      hidden_dropout=self.region_hidden_dropout,
      attention_dropout=self.region_attention_dropout,
    )

  def _layer(self, **own: Any) -> LayerShape:
    """A stack's own fields, and those that all stacks share."""
    return LayerShape(
      hidden_size=self.hidden_size,
      initializer_range=self.initializer_range,
      dtype=self.dtype,
      remat=self.remat,
      **own,
    )

  @property
  def region_output_dim(self) -> int:
    if self.region_target == "features":
      return self.region_feature_dim
    return self.num_region_classes


# How a model is computed; the other fields say which model it is.
COMPUTED_BY = ("dtype", "matmul_precision", "remat")

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


def _optional_fields() -> Iterator[tuple[str, Any, Any]]:
  """The fields of InterBertConfig, each unset until somebody sets it."""
  for field in dataclasses.fields(InterBertConfig):
    kind = rules_of(InterBertConfig)[field.name].kind
    if field.name in COMPUTED_BY:  # no size says anything about them
      yield field.name, kind, setting(field.default, **field.metadata)
    elif field.name != "region_target":
      yield field.name, kind | None, setting(None, **field.metadata)


# `config.model`: a size, and fields of InterBertConfig that differ from it.
ModelSettings = dataclasses.make_dataclass(
  "ModelSettings",
  [
    (
      "size",
      str,
      setting(
        "base",
        "tiny (tests), base (the paper) or large; the other keys change it",
        choices=tuple(SIZES),
      ),
    ),
    *_optional_fields(),
  ],
  bases=(Settings,),
  namespace={"section": InterBertConfig.section},
  frozen=True,
  kw_only=True,
)


def make_config(size: str = "base", **changes: Any) -> InterBertConfig:
  """A named size with some fields changed; None leaves a field as it is."""
  if size not in SIZES:
    raise ConfigError(f"model size {size!r} is unknown; sizes: {list(SIZES)}")
  changes = {k: v for k, v in changes.items() if v is not None}
  return read(InterBertConfig, {**SIZES[size], **changes})


def recorded_model(recorded: Any, *, path: object) -> InterBertConfig:
  """The model that a checkpoint or an export recorded.

  A field that is newer than the record has its default, which means the model
  as it was; one line on stderr says so.

  Raises:
    CheckpointError: naming each field that is unknown or has a value that it
      may not have.
  """
  if not recorded or not isinstance(recorded, Mapping):
    raise CheckpointError(
      f"{path}: its model is {str(recorded)!r:.60}, wanted an object with the "
      "fields of the model"
    )
  try:
    model = read(InterBertConfig, recorded)
  except ConfigError as error:
    raise CheckpointError(
      f"{path}: {error}; read it with the version that wrote it"
    ) from error
  fields = dataclasses.asdict(model)
  newer = [f"{k} = {v}" for k, v in fields.items() if k not in recorded]
  if newer:
    print(
      f"{path}: its model has no {', '.join(newer)} yet: the default is taken",
      file=sys.stderr,
    )
  return model
