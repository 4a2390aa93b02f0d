"""Items to choose from: images of a region store, read a part at a time.

Dimensions: N items, R region slots, E feature width.
"""

import copy
import hashlib
import json
import pathlib
from collections.abc import Sequence

import numpy as np

from input_pipeline.catalogues.item_list import read_items
from input_pipeline.store.quantise import restore_features
from input_pipeline.store.staged_store import open_store
from interbert_jax.contract.files import facts_sha256


class Catalogue:
  """The items of a store, or of a list.

  Args:
    store: directory of the region store.
    max_regions: R; an image with more regions keeps the first ones.
    items: file of items (item_list.py); empty for the whole store.
    item_ids: the items themselves, instead of a file.
    wanted_by: the file that item_ids come from, for messages.
  """

  def __init__(
    self,
    store: str | pathlib.Path,
    *,
    max_regions: int,
    items: str | pathlib.Path = "",
    item_ids: Sequence[str] | None = None,
    wanted_by: object = None,
  ):
    self._store = open_store(store)
    self._store.check_max_regions(max_regions)
    self._max_regions = max_regions
    self.titles: tuple[str | None, ...] | None = None
    if items:
      listed = read_items(items)
      self.item_ids = tuple(item.item_id for item in listed)
      self.titles = tuple(item.title for item in listed)
    elif item_ids is not None:
      self.item_ids = tuple(item_ids)
    else:
      self.item_ids = self._store.image_ids
    self._rows = self._store.rows(self.item_ids, wanted_by=items or wanted_by)

  def choose(
    self, item_ids: Sequence[str], *, wanted_by: object = None
  ) -> "Catalogue":
    """Other images of the same store, without titles."""
    chosen = copy.copy(self)
    chosen.item_ids, chosen.titles = tuple(item_ids), None
    chosen._rows = self._store.rows(chosen.item_ids, wanted_by=wanted_by)
    return chosen

  def __len__(self) -> int:
    return len(self.item_ids)

  @property
  def feature_dim(self) -> int:
    return self._store.layout.feature_dim

  @property
  def has_titles(self) -> bool:
    return self.titles is not None and any(self.titles)

  @property
  def fingerprint(self) -> str:
    """Changes with the features, the items, and their order."""
    digest = hashlib.sha256(self._store.fingerprint.encode())
    digest.update(json.dumps(self.item_ids).encode())
    return digest.hexdigest()

  @property
  def titles_sha256(self) -> str:
    return facts_sha256(self.titles)

  def read(
    self, items: Sequence[int] | np.ndarray, *, size: int | None = None
  ) -> dict[str, np.ndarray]:
    """region_features, region_boxes, num_regions, image_size of some items.

    Args:
      items: [N] numbers of items.
      size: rows of the arrays, N by default; the spare rows have no regions.
    """
    images = self._read_rows(self._rows[np.asarray(items, np.int64)])
    spare = 0 if size is None else size - len(items)
    if not spare:
      return images
    return {
      key: np.pad(array, [(0, spare), *[(0, 0)] * (array.ndim - 1)])
      for key, array in images.items()
    }

  def _read_rows(self, rows: np.ndarray) -> dict[str, np.ndarray]:
    images = self._store.read_padded(
      rows, max_regions=self._max_regions, class_probs=False
    )
    return restore_features(images, "region_")

  def mean_features(
    self, image_ids: Sequence[str], *, wanted_by: object = None
  ) -> np.ndarray:
    """[N, E] float32 means of the regions of images of the store.

    They need not be items: examples may be from elsewhere in the store.
    """
    rows = self._store.rows(image_ids, wanted_by=wanted_by)
    parts = [np.zeros((0, self._store.feature_dim), np.float32)]
    for start in range(0, len(rows), 256):
      parts.append(mean_regions(self._read_rows(rows[start : start + 256])))
    return np.concatenate(parts)


def mean_regions(images: dict[str, np.ndarray]) -> np.ndarray:
  """[N, E] float32: the mean of each image's region features."""
  count = np.maximum(images["num_regions"], 1)[:, None]
  total = images["region_features"].sum(axis=1, dtype=np.float32)
  return total / count.astype(np.float32)


def unit_rows(vectors: np.ndarray) -> np.ndarray:
  """Rows of length 1; those of zeros stay."""
  length = np.linalg.norm(vectors, axis=1, keepdims=True)
  return vectors / np.where(length > 0, length, 1.0)
