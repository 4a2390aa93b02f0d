"""Scores of chosen (text, image) pairs, for texts with candidates of their own.

To score every text with every image, matrix_scorer.py is faster.

Dimensions: P pairs, T texts, N images at hand, L text slots.
"""

import functools
from collections.abc import Mapping

import jax
import numpy as np

from interbert_jax.model.config import InterBertConfig
from interbert_jax.model.heads import pair_score
from interbert_jax.model.inputs import image_input, text_input
from interbert_jax.model.interbert import InterBert
from interbert_jax.parallel import Parallel


def score_pairs(
  params,
  images: Mapping[str, jax.Array],
  texts: Mapping[str, jax.Array],
  text_P: jax.Array,
  image_P: jax.Array,
  *,
  model: InterBert,
) -> jax.Array:
  """[P] float32 scores of P (text, image) pairs, `pair_score` of the head."""
  outputs = model.apply(
    {"params": params},
    text_input(texts["text_ids"][text_P], texts["text_length"][text_P]),
    image_input({key: value[image_P] for key, value in images.items()}),
  )
  return pair_score(outputs)


class CandidateScorer:
  """Scores pairs of its texts with images that are given to each call.

  Args:
    score: the head that scores a pair and its outputs (tasks/retrieval.py).
    params: parameters of the model, on the devices.
    texts: text_ids [T, L] and text_length [T].
    pairs_per_step: pairs scored at once, over all devices.
  """

  def __init__(
    self,
    *,
    config: InterBertConfig,
    score: Mapping[str, int],
    parallel: Parallel,
    params,
    texts: Mapping[str, np.ndarray],
    pairs_per_step: int,
  ):
    parallel.check_batch_size(pairs_per_step, name="evals.pairs_per_step")
    self._parallel = parallel
    self._params = params
    self._texts = parallel.put_replicated(
      {key: texts[key] for key in ("text_ids", "text_length")}
    )
    self._pairs_per_step = pairs_per_step
    self._score = parallel.compile_eval(
      functools.partial(score_pairs, model=InterBert(config, score))
    )

  def scores(
    self,
    images: Mapping[str, np.ndarray],
    text_P: np.ndarray,
    image_P: np.ndarray,
  ) -> np.ndarray:
    """[P] float32 scores of pairs of a text and one of these images.

    Args:
      images: region_features [N, R, E], region_boxes [N, R, 4], image_size
        [N, 2] and num_regions [N]; every new N is compiled for.
      text_P: numbers of texts.
      image_P: numbers of images.
    """
    total, step = len(text_P), self._pairs_per_step
    placed = self._parallel.put_replicated(dict(images))
    out = []
    for start in range(0, total, step):
      # The last step repeats the last pair; the surplus is cut off below.
      pair = np.minimum(np.arange(start, start + step), total - 1)
      index = self._parallel.put_global(
        {
          "text": np.asarray(text_P)[pair].astype(np.int32),
          "image": np.asarray(image_P)[pair].astype(np.int32),
        }
      )
      out.append(
        self._score(
          self._params, placed, self._texts, index["text"], index["image"]
        )
      )
    if not out:
      return np.zeros(0, np.float32)
    return np.concatenate(jax.device_get(out))[:total]
