"""The tensors of the official models: names there, paths and shapes here.

A Hugging Face BERT has the same names for the layers that both have.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from interbert_jax.model.config import InterBertConfig
from interbert_jax.model.interbert import pretraining_heads

# The decoder of the MLM head is the word embedding itself.
TIED = "cls.predictions.decoder.weight"
TIED_TO = "bert.embeddings.word_embeddings.weight"


@dataclasses.dataclass(frozen=True)
class Tensor:
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

  def turn(self, value: np.ndarray) -> np.ndarray:
    """From the layout there to the layout here, or back."""
    return value.T if self.transposed else value


def _linear(path: str, name: str, inputs: int, outputs: int):
  yield Tensor(f"{path}/kernel", f"{name}.weight", (inputs, outputs))
  yield Tensor(f"{path}/bias", f"{name}.bias", (outputs,))


def _norm(path: str, name: str, size: int):
  yield Tensor(f"{path}/scale", f"{name}.weight", (size,))
  yield Tensor(f"{path}/bias", f"{name}.bias", (size,))


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


def _pretraining_tensors(c: InterBertConfig) -> Iterator[Tensor]:
  """The tensors of the pretraining model, without the tied alias."""
  d = c.hidden_size
  for table, rows in (
    ("word_embeddings", c.vocab_size),
    ("position_embeddings", c.max_position_embeddings),
    ("token_type_embeddings", c.type_vocab_size),
  ):
    yield Tensor(
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
  yield Tensor("mlm_head/bias", "cls.predictions.bias", (c.vocab_size,))
  yield from _transform("mlm_head/transform", "cls.predictions.transform", d)
  yield from _linear(
    "match_head/dense", "cls.bi_seq_relationship", c.pooler_dim, 2
  )
  yield from _transform(
    "region_head/transform", "cls.imagePredictions.transform", d
  )
  yield from _linear(
    "region_head/decoder",
    "cls.imagePredictions.decoder",
    d,
    c.region_output_dim,
  )


def official_heads(
  config: InterBertConfig, num_labels: int = 1
) -> dict[str, int]:
  """The heads of the official downstream model and their outputs."""
  return pretraining_heads(config) | {
    "answer_head": num_labels,
    **dict.fromkeys(
      ("choice_head", "region_choice_head", "token_choice_head"), 1
    ),
  }


def official_tensors(
  c: InterBertConfig, num_labels: int | None = None
) -> list[Tensor]:
  """Every tensor once, in the order of the official named_parameters().

  Args:
    c: the model.
    num_labels: answers of the downstream model, None for the pretraining one.
  """
  tensors = list(_pretraining_tensors(c))
  if num_labels is None:
    return tensors
  heads = official_heads(c, num_labels)
  for ours, theirs, width in (
    ("answer_head", "vil_prediction", c.pooler_dim),
    ("choice_head", "vil_logit", c.pooler_dim),
    ("region_choice_head", "vision_logit", c.hidden_size),
    ("token_choice_head", "linguisic_logit", c.hidden_size),
  ):
    tensors += _linear(f"{ours}/dense", theirs, width, heads[ours])
  return tensors
