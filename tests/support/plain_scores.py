"""Scores of pairs, one forward pass of the whole model for each."""

import jax
import jax.numpy as jnp
import numpy as np

from interbert_jax.model.inputs import TextInput, region_input
from interbert_jax.tasks.retrieval import pair_score


def plain_scores(model, params, *, images, texts):
  """[T, I] scores, at full size, all slots computed; `model` has one head."""
  (head,) = model.heads

  @jax.jit
  def score(ids, length, features, boxes, size, count):
    mask = jnp.arange(ids.shape[1]) < length[:, None]

    def forward(model):
      encoded = model.encoder(
        TextInput(ids, mask), region_input(features, boxes, size, count)
      )
      assert encoded.text.shape[1] == ids.shape[1]
      return {head: model.read(head, model.pool(encoded))}

    return pair_score(model.apply({"params": params}, method=forward))

  keys = ("region_features", "region_boxes", "image_size", "num_regions")
  T, I = len(texts["text_ids"]), len(images["num_regions"])
  out = np.zeros((T, I), np.float32)
  for t, i in np.ndindex(T, I):
    out[t, i] = score(
      texts["text_ids"][t : t + 1],
      texts["text_length"][t : t + 1],
      *(images[key][i : i + 1] for key in keys),
    )[0]
  return out
