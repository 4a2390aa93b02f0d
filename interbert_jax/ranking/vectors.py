"""Vectors of texts and of images, each encoded alone, by the vector head.

Dimensions: N rows, O numbers of a vector, L text slots.
"""

import functools
from collections.abc import Mapping

import numpy as np

from interbert_jax.contract.errors import CheckpointError
from interbert_jax.model.config import InterBertConfig
from interbert_jax.model.inputs import image_input, text_input
from interbert_jax.model.interbert import InterBert
from interbert_jax.parallel import Parallel
from interbert_jax.ranking.gallery import IMAGES, Images, filled, steps

HEAD = "vector_head"


def encode(params, text, images, *, model: InterBert):
  """[N, O] of texts or of images; the others are None."""
  texts_NO, images_NO, _ = model.apply(
    {"params": params},
    text and text_input(text["text_ids"], text["text_length"]),
    images and image_input(images),
    method="vectors",
  )
  return images_NO if texts_NO is None else texts_NO


class VectorEncoder:
  """Makes vectors; what is compiled is kept.

  Args:
    config: of the model.
    params: its parameters, on the devices.
    parallel: the devices.

  Raises:
    CheckpointError: the model has no vector head.
  """

  def __init__(self, config: InterBertConfig, params, parallel: Parallel):
    if HEAD not in params:
      raise CheckpointError(
        "the model has no vectors: it was trained without task.itc_weight; "
        "fine-tune it with --config.task.itc_weight=1"
      )
    self.dim = params[HEAD]["text"]["kernel"].shape[1]
    self._params, self._parallel = params, parallel
    self._encode = parallel.compile_eval(
      functools.partial(encode, model=InterBert(config, {HEAD: self.dim}))
    )

  def texts(self, texts: Mapping[str, np.ndarray]) -> np.ndarray:
    """[N, O] float32 of text_ids [N, L] and text_length [N]."""

    def part(rows: range):
      return {k: v[rows.start : rows.stop] for k, v in texts.items()}, None

    return self._all(len(texts["text_length"]), part)

  def images(self, images: Images) -> np.ndarray:
    """[N, O] float32 of all images."""
    return self._all(len(images), lambda rows: (None, images.read(rows)))

  def _all(self, count: int, part) -> np.ndarray:
    out = np.empty((count, self.dim), np.float32)
    for rows, size in steps(count, IMAGES):
      given = tuple(
        arrays and {key: filled(value, size) for key, value in arrays.items()}
        for arrays in part(rows)
      )
      vectors = self._encode(
        self._params, *self._parallel.put_replicated(given)
      )
      out[rows.start : rows.stop] = np.asarray(vectors)[: len(rows)]
    return out
