"""Retrieval in both directions: all pairs of a set, or of parts of it.

Dimensions: T texts, I images.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from interbert_jax.contract.errors import ConfigError
from interbert_jax.contract.progress import OnBatch, do_nothing
from interbert_jax.model.config import InterBertConfig
from interbert_jax.model.interbert import InterBert
from interbert_jax.parallel import Parallel
from interbert_jax.ranking import retrieval_metrics
from interbert_jax.ranking.matrix_scorer import MatrixScorer
from interbert_jax.ranking.score_tiles import MatrixTiles


class RetrievalEvaluator:
  """Scores every text with every image and ranks both.

  Args:
    score: the head that scores a pair and its outputs (tasks/retrieval.py).
    images: region_features [I, R, E], region_boxes [I, R, 4], image_size
      [I, 2] and num_regions [I].
    texts: text_ids [T, L], text_length [T] and image_of_text [T].
    pairs_per_step: pairs scored at once, over all devices.
  """

  def __init__(
    self,
    *,
    config: InterBertConfig,
    score: Mapping[str, int],
    parallel: Parallel,
    images: Mapping[str, np.ndarray],
    texts: Mapping[str, np.ndarray],
    pairs_per_step: int,
  ):
    self.image_of_text = np.asarray(texts["image_of_text"])
    self.num_images = len(images["num_regions"])
    self._images = images
    self._scorer = MatrixScorer(
      model=InterBert(config, score),
      parallel=parallel,
      texts=texts,
      pairs_per_step=pairs_per_step,
    )

  def part(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the images first .. last - 1 and of their texts."""
    return (
      np.arange(first, last),
      np.flatnonzero(
        (self.image_of_text >= first) & (self.image_of_text < last)
      ),
    )

  def counts(self, parts: list[tuple[int, int]] | None = None):
    """How many images, texts and pairs are scored, of all parts together."""
    sizes = [
      tuple(map(len, self.part(*part)))
      for part in parts or [(0, self.num_images)]
    ]
    return {
      "n_images": sum(images for images, _ in sizes),
      "n_texts": sum(texts for _, texts in sizes),
      "n_pairs_scored": sum(images * texts for images, texts in sizes),
    }

  def scores(
    self,
    params,
    part: tuple[int, int] | None = None,
    *,
    tiles: MatrixTiles | None = None,
    advance: Callable[[int], None] = lambda pairs: None,
    on_batch: OnBatch = do_nothing,
  ) -> np.ndarray:
    """[T, I] float32 score of every text with every image of a part."""
    images, texts = self.part(*(part or (0, self.num_images)))
    return self._scorer.scores(
      params,
      self._images,
      text_rows=texts,
      image_rows=images,
      tiles=tiles,
      advance=advance,
      on_batch=on_batch,
    )

  def image_of_text_in(self, part: tuple[int, int]) -> np.ndarray:
    """The image of each text of a part, as a number within the part."""
    images, texts = self.part(*part)
    return self.image_of_text[texts] - images[0]

  def run(self, params, on_batch: OnBatch = do_nothing) -> dict[str, float]:
    return retrieval_metrics.retrieval_metrics(
      self.scores(params, on_batch=on_batch), self.image_of_text
    )


def protocol_parts(
  protocol: str, num_images: int, part_images: int
) -> tuple[str, list[tuple[int, int]]]:
  """(the protocol's name in results, its parts as ranges of images).

  Args:
    protocol: "all", every pair of the split; "first", of its first part_images
      images; "folds", of each of its parts of part_images images by itself
      (COCO 1K five-fold: 5,000 images in parts of 1,000).
    num_images: of the split.
    part_images: of a part.
  """
  if protocol == "all":
    return "all_pairs", [(0, num_images)]
  if protocol not in ("first", "folds"):
    raise ConfigError(f"protocol {protocol!r}; wanted all, first or folds")
  if not 1 <= part_images <= num_images:
    raise ConfigError(
      f"parts of {part_images} images; the split has {num_images}: set "
      "--part_images to no more"
    )
  if protocol == "first":
    return f"first_{part_images}", [(0, part_images)]
  if num_images % part_images:
    raise ConfigError(
      f"{num_images} images cannot be cut into equal parts of {part_images}; "
      "set --part_images to a divisor"
    )
  count = num_images // part_images
  return f"{count}_folds_of_{part_images}", [
    (n * part_images, (n + 1) * part_images) for n in range(count)
  ]


def mean_metrics(parts: list[Mapping[str, Any]]) -> dict[str, float]:
  """The mean of each metric over several parts, and the sum of their ties."""
  mean = {
    key: float(np.mean([part[key] for part in parts])) for key in parts[0]
  }
  return {**mean, "n_ties": int(sum(part["n_ties"] for part in parts))}
