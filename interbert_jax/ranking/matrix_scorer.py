"""Scores of every text with every image, as fast as exact scores allow.

The plain way pads every pair to the largest shape and passes it through the
whole model. Here regions are embedded once per image; texts and images are
grouped by length (`length_buckets`); and the model computes nothing that the
score does not read (model/interbert.py). bench/bench_retrieval.py measures what
that saves. A model without interaction layers is two towers: images pass it
once, texts once for each block of images.

Dimensions: T texts, I images; c texts and i images of a step, P = c * i pairs;
L text slots, R region slots, K pooled; N items of unequal length, U distinct
lengths.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from interbert_jax.contract.progress import OnBatch, do_nothing
from interbert_jax.model.heads import pair_score
from interbert_jax.model.inputs import TextInput, image_input, text_input
from interbert_jax.model.interbert import InterBert
from interbert_jax.model.trunk import Embedded
from interbert_jax.parallel import Parallel
from interbert_jax.ranking.score_tiles import MatrixTiles

# Images whose embeddings are held at once, and pairs between two saves.
_BLOCK = 64
_TILE_PAIRS = 1 << 15
# Another shape costs a compilation, which so many pairs make up for.
_PAIRS_PER_SHAPE = 20_000
_MAX_BUCKETS = 4

_IMAGE_KEYS = ("region_features", "region_boxes", "image_size", "num_regions")


class Bucket(NamedTuple):
  """Items, by number, and the length that all of them fit."""

  items: np.ndarray
  length: int


class MatrixPart(NamedTuple):
  """Part of what a call scores; texts and images by their place in the call."""

  texts: np.ndarray
  images: np.ndarray
  length: int  # text slots
  steps: list[np.ndarray]  # the texts, some of them twice, in equal parts


def length_buckets(lengths_N: np.ndarray, max_buckets: int) -> list[Bucket]:
  """At most max_buckets groups with the least padding in all.

  Exact, by dynamic programming over the distinct lengths. Items of a bucket
  are in the order of their numbers; a length of 0 counts as 1.
  """
  lengths_N = np.maximum(lengths_N, 1)
  lengths_U, counts_U = np.unique(lengths_N, return_counts=True)
  below_U = np.concatenate([[0], np.cumsum(counts_U)])
  # slots[k, u]: least slots of the u shortest lengths in k buckets.
  U = len(lengths_U)
  K = min(max_buckets, U)
  slots = np.full((K + 1, U + 1), np.inf)
  slots[0, 0] = 0
  cut = np.zeros((K + 1, U + 1), int)
  for k in range(1, K + 1):
    for u in range(1, U + 1):
      ways = slots[k - 1, :u] + (below_U[u] - below_U[:u]) * lengths_U[u - 1]
      cut[k, u] = np.argmin(ways)
      slots[k, u] = ways[cut[k, u]]
  k, u = int(np.argmin(slots[:, U])), U
  edges = [U]
  while k:
    u = cut[k, u]
    k -= 1
    edges.append(u)
  edges.reverse()
  return [
    Bucket(
      np.flatnonzero(
        (lengths_N >= lengths_U[a]) & (lengths_N <= lengths_U[b - 1])
      ),
      int(lengths_U[b - 1]),
    )
    for a, b in zip(edges[:-1], edges[1:], strict=True)
  ]


def embed_images(params, images: Mapping[str, jax.Array], *, model):
  """All that does not depend on the text: images after the embedding layer.

  Without interaction layers it is what is pooled, [i, K].
  """
  regions = image_input(images)
  if model.config.num_interaction_layers:
    return model.apply({"params": params}, regions, method="embed_regions")
  return model.apply({"params": params}, None, regions, method=_pooled)


def _pooled(model: InterBert, text, regions):
  return model.pool(model.encode(text, regions))


def score_block(params, regions, ids_cL, length_c, *, model, spread):
  """[c, i] float32: `pair_score` of c texts with images of `embed_images`."""
  text = text_input(ids_cL, length_c)
  if not model.config.num_interaction_layers:
    return _score_pooled(params, text, regions, model=model, spread=spread)
  text = model.apply({"params": params}, text, method="embed_text")
  c, i = len(ids_cL), len(regions.mask)

  def of_pairs(x, shape):
    return spread(jnp.broadcast_to(x, shape).reshape(c * i, *shape[2:]))

  text_P = [of_pairs(x[:, None], (c, i, *x.shape[1:])) for x in text]
  regions_P = [of_pairs(x[None], (c, i, *x.shape[1:])) for x in regions]
  outputs = model.apply(
    {"params": params}, Embedded(*text_P), Embedded(*regions_P)
  )
  return pair_score(outputs).reshape(c, i)


def _score_pooled(params, text: TextInput, regions_iK, *, model, spread):
  """[c, i] float32: only the head sees both sides."""
  text_cK = model.apply({"params": params}, text, None, method=_pooled)
  shape = len(text_cK), len(regions_iK)

  def read(model: InterBert):
    fused_ciK = model.fuse(text_cK[:, None], regions_iK[None])
    fused_PK = spread(fused_ciK.reshape(-1, fused_ciK.shape[-1]))
    return {name: model.read(name, fused_PK) for name in model.heads}

  outputs = model.apply({"params": params}, method=read)
  return pair_score(outputs).reshape(shape)


def step_shape(
  pairs_per_step: int, num_images: int, num_texts: Sequence[int]
) -> tuple[int, int]:
  """(texts, images) of a step, whose product is pairs_per_step.

  The shape with the least padding: `num_images` and each of the groups of
  `num_texts` are cut into equal steps, the last one filled up with repeats.
  """

  def computed(images: int) -> tuple[int, int]:
    texts = pairs_per_step // images
    whole = sum(_steps_of(count, texts) * texts for count in num_texts)
    return _steps_of(num_images, images) * images * whole, -images

  images = min(
    (i for i in range(1, _BLOCK + 1) if pairs_per_step % i == 0), key=computed
  )
  return pairs_per_step // images, images


def _steps_of(count: int, size: int) -> int:
  return -(-count // size)


class MatrixScorer:
  """Scores texts with images.

  Args:
    model: with the head that scores.
    parallel: the devices; pairs are spread over them.
    texts: text_ids [T, L] and text_length [T], on the host.
    pairs_per_step: pairs scored at once, over all devices.
    bucket_images: whether images go in groups of like length too. Every call
      with other images may then be compiled anew.
  """

  def __init__(
    self,
    *,
    model: InterBert,
    parallel: Parallel,
    texts: Mapping[str, np.ndarray],
    pairs_per_step: int,
    bucket_images: bool = True,
  ):
    parallel.check_batch_size(pairs_per_step, name="evals.pairs_per_step")
    self._parallel = parallel
    self._texts = {
      key: np.asarray(texts[key]) for key in ("text_ids", "text_length")
    }
    self.num_texts = len(self._texts["text_length"])
    self._pairs_per_step = pairs_per_step
    self._bucket_images = bucket_images
    self._embed = parallel.compile_eval(
      functools.partial(embed_images, model=model)
    )
    self._score = parallel.compile_eval(
      functools.partial(score_block, model=model, spread=parallel.spread_rows)
    )

  def scores(
    self,
    params,
    images: Mapping[str, np.ndarray],
    *,
    text_rows: np.ndarray | None = None,
    image_rows: np.ndarray | None = None,
    tiles: MatrixTiles | None = None,
    advance: Callable[[int], None] = lambda pairs: None,
    on_batch: OnBatch = do_nothing,
  ) -> np.ndarray:
    """[T, I] float32.

    Args:
      images: region_features [I, R, E], region_boxes [I, R, 4], image_size
        [I, 2] and num_regions [I], on the host.
      text_rows, image_rows: which texts and images, by number; None for all.
      tiles: where finished parts are kept and found again.
      advance: called with the number of pairs that have just been scored.
      on_batch: called before every batch of pairs; may raise.
    """
    if text_rows is None:
      text_rows = np.arange(self.num_texts)
    if image_rows is None:
      image_rows = np.arange(len(images["num_regions"]))
    out = np.full((len(text_rows), len(image_rows)), np.nan, np.float32)
    waiting: list[tuple[MatrixPart, list]] = []

    def finish(tile: MatrixPart, parts: list):
      rows = np.concatenate(jax.device_get(parts))
      scores = rows[: len(tile.texts), : len(tile.images)]
      out[np.ix_(tile.texts, tile.images)] = scores
      if tiles:
        tiles.write(text_rows[tile.texts], image_rows[tile.images], scores)
      advance(scores.size)

    for regions, block in self._tiles(params, images, text_rows, image_rows):
      for tile in block:
        known = None
        if tiles:
          shape = len(tile.texts), len(tile.images)
          known = tiles.read(text_rows[tile.texts], image_rows[tile.images])
          known = self._parallel.from_main(known, shape)
        if known is not None:
          out[np.ix_(tile.texts, tile.images)] = known
          advance(known.size)
          continue
        parts = []
        for texts in tile.steps:
          on_batch()
          parts.append(
            self._start(params, regions(), text_rows[texts], tile.length)
          )
          # Two steps keep a device busy; more would only delay a stop.
          jax.block_until_ready(parts[-2:-1])
        # Fetched one tile late, so that the device has work meanwhile.
        waiting.append((tile, parts))
        if len(waiting) > 1:
          finish(*waiting.pop(0))
    for tile, parts in waiting:
      finish(tile, parts)
    return out

  def _tiles(
    self,
    params,
    images: Mapping[str, np.ndarray],
    text_rows: np.ndarray,
    image_rows: np.ndarray,
  ) -> Iterator[tuple[Callable, list[MatrixPart]]]:
    """Yields for each block of images what embeds it, once, and its tiles."""
    shapes = len(text_rows) * len(image_rows) / _PAIRS_PER_SHAPE
    most = int(np.clip(shapes**0.5, 1, _MAX_BUCKETS))
    by_text = length_buckets(self._texts["text_length"][text_rows], most)
    if self._bucket_images:
      by_image = length_buckets(images["num_regions"][image_rows], most)
    else:
      slots = images["region_features"].shape[1]
      by_image = [Bucket(np.arange(len(image_rows)), slots)]
    counts = [len(bucket.items) for bucket in by_text]
    for bucket in by_image:
      c, i = step_shape(self._pairs_per_step, len(bucket.items), counts)
      texts_per_tile = max(1, _TILE_PAIRS // (c * i)) * c
      for group in _groups(bucket.items, i):
        rows = image_rows[_filled(group, i)]
        block = {
          key: images[key][rows, : bucket.length]
          if key in ("region_features", "region_boxes")
          else images[key][rows]
          for key in _IMAGE_KEYS
        }
        embed = functools.lru_cache(
          lambda block=block: self._embed(
            params, self._parallel.put_replicated(block)
          )
        )
        yield (
          embed,
          [
            MatrixPart(texts, group, length, _steps(texts, c))
            for items, length in by_text
            for texts in _groups(items, texts_per_tile)
          ],
        )

  def _start(
    self, params, regions, rows_c: np.ndarray, length: int
  ) -> jax.Array:
    """Sends c texts, cut to a length, with embedded images to the devices."""
    ids_cL, length_c = self._parallel.put_replicated(
      (
        self._texts["text_ids"][rows_c, :length],
        self._texts["text_length"][rows_c],
      )
    )
    return self._score(params, regions, ids_cL, length_c)


def _groups(items: np.ndarray, size: int) -> list[np.ndarray]:
  return [items[a : a + size] for a in range(0, len(items), size)]


def _filled(items: np.ndarray, size: int) -> np.ndarray:
  """The items, and the last one again up to the size."""
  return items[np.minimum(np.arange(size), len(items) - 1)]


def _steps(texts: np.ndarray, size: int) -> list[np.ndarray]:
  return [_filled(group, size) for group in _groups(texts, size)]
