"""Scores of a few texts with images that are asked again and again.

What of an image does not depend on the text is computed once and kept, and a
call has one of few shapes, so that hardly any call compiles. To score every
text of a set with every image once, matrix_scorer.py is faster.

Dimensions: T texts, I images; c texts and i images of a step; L text slots.
"""

import functools
import weakref
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Protocol

import jax
import numpy as np

from interbert_jax.model.interbert import InterBert
from interbert_jax.parallel import Parallel, on_cpu
from interbert_jax.ranking.matrix_scorer import embed_images, score_block
from interbert_jax.ranking.top_items import check_finite

# Sizes of steps.
IMAGES = (1, 8, 64)
TEXTS = (1, 4, 16)  # on a CPU one at a time, which is as fast or faster
TEXT_SLOTS = 8  # texts are padded to multiples
# Embedded images that are kept, in bytes.
KEPT = 1 << 30


class Images(Protocol):
  """Images to choose from; all arrays have the same R."""

  def __len__(self) -> int: ...

  def read(self, items: range) -> Mapping[str, np.ndarray]:
    """region_features [n, R, E], region_boxes [n, R, 4], image_size [n, 2] and
    num_regions [n]."""


def steps(
  total: int, sizes: tuple[int, ...], *, full: float = 0.5
) -> Iterator[tuple[range, int]]:
  """(numbers, size of the step) of parts of `total`.

  A step may have spare places, but is as full as `full` says, unless it is of
  the smallest size.
  """
  start = 0
  while start < total:
    left = total - start
    whole = max((size for size in sizes if size <= left), default=sizes[0])
    spare = next((size for size in sizes if size >= left), whole)
    size = spare if left >= full * spare else whole
    yield range(start, min(total, start + size)), size
    start += size


def filled(array: np.ndarray, size: int) -> np.ndarray:
  """The rows, and the last one again up to the size."""
  return array[np.minimum(np.arange(size), len(array) - 1)]


class GalleryScorer:
  """A model that keeps what it has computed and compiled.

  What is kept of images goes with them.

  Args:
    model: with the head that scores.
    params: its parameters, on the devices.
    parallel: the devices.
  """

  def __init__(self, model: InterBert, params, parallel: Parallel):
    self._parallel, self._params = parallel, params
    self._texts = TEXTS[:1] if on_cpu() else TEXTS
    self._kept: MutableMapping[Images, dict[tuple, object]] = (
      weakref.WeakKeyDictionary()
    )
    self._embed = parallel.compile_eval(
      functools.partial(embed_images, model=model)
    )
    self._score = parallel.compile_eval(
      functools.partial(score_block, model=model, spread=parallel.spread_rows)
    )

  def scores(
    self, images: Images, text_ids: np.ndarray, text_length: np.ndarray
  ) -> np.ndarray:
    """[T, I] float32 scores of texts [T, L] with every image.

    Raises:
      ConfigError: for scores that are not finite.
    """
    out = np.empty((len(text_length), len(images)), np.float32)
    waiting: list[tuple[np.ndarray, range, jax.Array]] = []

    def fetch(texts: np.ndarray, part: range, scores: jax.Array) -> None:
      known = np.asarray(scores)[: len(texts), : len(part)]
      out[texts, part.start : part.stop] = known

    slots_T = -(-np.asarray(text_length) // TEXT_SLOTS) * TEXT_SLOTS
    of_length = [
      (slots, np.flatnonzero(slots_T == slots)) for slots in np.unique(slots_T)
    ]
    for part, size in steps(len(images), IMAGES):
      regions = self._embedded(images, part, size)
      for slots, texts in of_length:
        for rows, count in steps(len(texts), self._texts, full=0.75):
          chosen = texts[rows.start : rows.stop]
          given = self._parallel.put_replicated(
            (
              filled(text_ids[chosen, :slots], count),
              filled(text_length[chosen], count),
            )
          )
          scores = self._score(self._params, regions, *given)
          waiting.append((chosen, part, scores))
          if len(waiting) > 2:  # the device works while results are fetched
            fetch(*waiting.pop(0))
    for rest in waiting:
      fetch(*rest)
    check_finite(out)
    return out

  def _embedded(self, images: Images, part: range, size: int):
    kept = self._kept.setdefault(images, {})
    key = part.start, size
    if key in kept:
      return kept[key]
    arrays = {k: filled(v, size) for k, v in images.read(part).items()}
    regions = self._embed(self._params, self._parallel.put_replicated(arrays))
    everything = [*self._kept.values(), regions]
    if sum(x.nbytes for x in jax.tree.leaves(everything)) <= KEPT:
      kept[key] = regions
    return regions
