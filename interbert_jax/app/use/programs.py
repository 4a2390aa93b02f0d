"""What a model in use computes, beside scores of texts with images.

Arrays are those of a batch (contract/batch.py) or their first rows.

Dimensions: N rows, P pooled, R region slots, L text slots, V vocabulary, A
layers, H heads, S = 1 + R + L slots of the interaction layers.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from interbert_jax.model.heads import pair_score
from interbert_jax.model.inputs import image_input, text_input
from interbert_jax.model.interbert import InterBert

Arrays = Mapping[str, jax.Array]


def _inputs(text: Arrays | None, images: Arrays | None):
  return (
    text and text_input(text["text_ids"], text["text_length"]),
    images and image_input(images),
  )


def pool(params, text: Arrays | None, images: Arrays | None, *, model):
  """[N, P] float32: the vectors of texts, of images or of pairs."""

  def encode(model: InterBert, text, regions):
    return model.pool(model.encode(text, regions))

  return model.apply({"params": params}, *_inputs(text, images), method=encode)


def fill(params, text: Arrays, images: Arrays | None, *, model: InterBert):
  """[N, L, V] probabilities of words at every slot."""
  outputs = model.apply({"params": params}, *_inputs(text, images))
  return jax.nn.softmax(outputs["mlm_head"])


class Parts(NamedTuple):
  """What a score is made of."""

  score: jax.Array
  attention: jax.Array  # [A, H, S, S]; a row's sum is 1
  without_region: jax.Array  # [R] scores without each region
  without_word: jax.Array  # [L] scores with [MASK] for each word


def explain(
  params, text: Arrays, images: Arrays, *, model: InterBert, mask_id: int
) -> Parts:
  """Of one text with one image, in arrays of one row."""

  def scores(text, images):
    return pair_score(model.apply({"params": params}, *_inputs(text, images)))

  def repeated(arrays, n):
    return {key: value.repeat(n, axis=0) for key, value in arrays.items()}

  outputs, kept = model.apply(
    {"params": params}, *_inputs(text, images), mutable="intermediates"
  )
  L, R = text["text_ids"].shape[1], images["region_boxes"].shape[1]
  shape = model.config.num_heads, 1 + R + L, 1 + R + L
  layers = kept["intermediates"]["encoder"].get("interaction_encoder", {})
  attention = [
    layers[f"layer_{i}"]["attention"]["attention"][0].reshape(shape)
    for i in range(len(layers))
  ]
  # All regions but one, in their order.
  others_RR = jnp.arange(R) + (jnp.arange(R) >= jnp.arange(R)[:, None])
  fewer = {
    key: value[0, jnp.minimum(others_RR, R - 1)]
    if key.startswith("region_")
    else value.repeat(R, axis=0)
    for key, value in images.items()
  }
  fewer["num_regions"] -= 1
  hidden_LL = jnp.where(jnp.eye(L, dtype=bool), mask_id, text["text_ids"])
  return Parts(
    score=pair_score(outputs)[0],
    attention=jnp.stack(attention) if layers else jnp.zeros((0, *shape)),
    without_region=scores(repeated(text, R), fewer),
    without_word=scores(
      {**repeated(text, L), "text_ids": hidden_LL}, repeated(images, L)
    ),
  )


@dataclasses.dataclass(frozen=True)
class Explanation:
  """What a score is made of.

  Attributes:
    score: of the text with the image.
    tokens: L of them, [CLS] and [SEP] included.
    boxes: [R, 4] in pixels.
    attention: [A, H, S, S] of the interaction layers: how much each slot (the
      rows) looks at every other; rows sum to 1.
    importance: [R] by how much the score falls without the region.
    word_importance: [L] by how much it falls with [MASK] for the token; 0 of
      [CLS] and [SEP].
  """

  score: float
  tokens: tuple[str, ...]
  boxes: np.ndarray
  attention: np.ndarray
  importance: np.ndarray
  word_importance: np.ndarray


def explanation(
  parts: Parts,
  text: Mapping[str, np.ndarray],
  images: Mapping[str, np.ndarray],
  words: Sequence[str],
) -> Explanation:
  """What `explain` computed, without empty slots."""
  R, L = int(images["num_regions"][0]), int(text["text_length"][0])
  first = 1 + images["region_boxes"].shape[1]  # of the text's slots
  slots = np.r_[: 1 + R, first : first + L]
  word_importance = parts.score - parts.without_word[:L]
  word_importance[[0, -1]] = 0.0
  return Explanation(
    score=float(parts.score),
    tokens=tuple(words[i] for i in text["text_ids"][0, :L]),
    boxes=images["region_boxes"][0, :R],
    attention=parts.attention[:, :, slots][..., slots],
    importance=parts.score - parts.without_region[:R],
    word_importance=word_importance,
  )
