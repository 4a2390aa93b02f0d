"""Regions of images from one store, or from two: detected and ground truth.

Dimensions: n images, R region slots, E feature width.
"""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from input_pipeline.annotations.captions import SHOWN
from input_pipeline.annotations.image_ids import RULES, match_image_ids
from input_pipeline.store.bad_records import BadRecords
from input_pipeline.store.buffers import BufferPool
from input_pipeline.store.region_arrays import Slots, bytes_of, image_shapes
from input_pipeline.store.region_store import RegionStore
from input_pipeline.tasks.settings import ImageInput
from interbert_jax.contract.errors import BadRecord, DataError, MissingImages
from interbert_jax.contract.text import listed


class MergedRegions:
  """The regions of some images, cut and padded, and their global feature.

  Args:
    settings: section `input` of the configuration; its store has the detected
      regions.
    names: the names that each image may have in the stores.
    ground_truth: store of the regions of annotated objects; empty for none.
      These get their slots first, the first detected regions get the rest.
    wanted_by: the file that the names come from, for messages.
    rules: how names may differ (image_ids.py).
  """

  def __init__(
    self,
    settings: ImageInput,
    names: Sequence[tuple[str, ...]],
    *,
    ground_truth: str | pathlib.Path = "",
    wanted_by: object = None,
    rules: Mapping[str, Callable[[str], str]] = RULES,
  ):
    self._stores = [RegionStore(settings.store)]
    if ground_truth:
      self._stores.append(RegionStore(ground_truth))
    first = self._stores[0]
    first.check_max_regions(settings.max_regions)
    self._max_regions = settings.max_regions
    for other in self._stores[1:]:
      for field in ("feature_dim", "feature_encoding"):
        own, wanted = (getattr(s.layout, field) for s in (other, first))
        if own != wanted:
          raise DataError(
            f"found {own}, but {first.directory} has {wanted}",
            file=other.directory,
            field=field,
            hint="both must come from one extractor and conversion",
          )
    found_ids = [
      _find(names, s, wanted_by=wanted_by, rules=rules) for s in self._stores
    ]
    self.image_ids = tuple(found_ids[0])
    self._rows = np.stack(
      [s.rows(i) for s, i in zip(self._stores, found_ids, strict=True)], 1
    )
    self.layout = first.layout
    self._shapes = image_shapes(
      first.layout, max_regions=settings.max_regions, with_global=True
    )
    self.bad_records = BadRecords(settings.on_bad_record, num_images=len(names))
    self._pool = BufferPool()
    self._cache = None
    if len(names) * bytes_of(self._shapes) <= settings.cache_bytes:
      self._cache = self.images(np.arange(len(names)))

  @property
  def facts(self) -> dict[str, Any]:
    """What decides the content of the arrays."""
    return {
      "num_images": len(self.image_ids),
      "feature_dim": self.layout.feature_dim,
      "feature_encoding": self.layout.feature_encoding,
      "num_classes": None,
      "store_fingerprints": [store.fingerprint for store in self._stores],
      "max_regions": self._max_regions,
    }

  def images(self, index: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of images [n] in a batch, with global_features [n, E]."""
    into = Slots.new(self._shapes, len(index), pool=self._pool)
    if self._cache is not None:
      into.gather(self._cache, index)
      return into.arrays
    for number, rows in enumerate(self._rows[index]):
      try:
        records = self._records(rows)
      except BadRecord as error:
        self.bad_records.add(error)
        into.clear(number)
        continue
      into.put(number, _join(records, self._max_regions))
      into.arrays["global_features"][number] = global_feature(records)
    return into.arrays

  def counts(self, images: np.ndarray) -> np.ndarray:
    """[...] regions of images; as many as there are slots where unknown."""
    total = np.zeros(images.shape, int)
    for store, rows in zip(self._stores, self._rows.T, strict=True):
      if store.num_regions is None:
        return np.full(images.shape, self._max_regions)
      total += store.num_regions[rows[images]]
    return np.minimum(total, self._max_regions)

  def records_of(self, image: int) -> list[dict[str, Any]]:
    """The records of an image: detected regions, then ground truth."""
    return self._records(self._rows[image])

  def _records(self, rows: np.ndarray) -> list[dict[str, Any]]:
    records = [
      store.record(row) for store, row in zip(self._stores, rows, strict=True)
    ]
    sizes = [(record["width"], record["height"]) for record in records]
    if len(set(sizes)) > 1:
      raise DataError(
        f"found an image of {sizes[1][0]} x {sizes[1][1]}, but "
        f"{self._stores[0].directory} has it as {sizes[0][0]} x {sizes[0][1]}",
        file=self._stores[1].directory,
        record=f"image id {records[1]['image_id']!r}",
        field="width",
        hint="extract both from the same pictures",
      )
    return records


def _find(
  names: Sequence[tuple[str, ...]],
  store: RegionStore,
  *,
  wanted_by: object,
  rules: Mapping[str, Callable[[str], str]],
) -> list[str]:
  """The id that each image has in the store."""
  match = match_image_ids(names, store.image_ids, rules=rules)
  missing = [n[0] for n, i in zip(names, match.ids, strict=True) if i is None]
  if missing:
    raise MissingImages(
      f"{len(missing)} of {len(names)} images are not in {store.directory}, "
      f"such as {listed(missing, SHOWN)}",
      ids=missing,
      file=wanted_by,
      hint=f"compared {match.rule}; it has {listed(store.image_ids, 3)}, ...",
    )
  if len(set(match.ids)) < len(match.ids):
    twice = next(i for i in match.ids if match.ids.count(i) > 1)
    raise DataError(
      f"several images are {twice!r} of {store.directory}, compared "
      f"{match.rule}",
      file=wanted_by,
    )
  return match.ids


def _join(
  records: Sequence[Mapping[str, Any]], max_regions: int
) -> dict[str, Any]:
  """One record of the ground truth and as many detected regions as fit."""
  detected, *others = records
  if not others:
    return dict(detected)
  (exact,) = others
  exact_count = min(exact["num_regions"], max_regions)
  count = min(detected["num_regions"], max_regions - exact_count)
  joined = {
    field: np.concatenate([detected[field][:count], exact[field][:exact_count]])
    for field in ("features", "boxes", "feature_scale")
    if field in detected
  }
  return {
    **joined,
    "num_regions": count + exact_count,
    "width": detected["width"],
    "height": detected["height"],
  }


def global_feature(records: Sequence[Mapping[str, Any]]) -> np.ndarray:
  """[E] float32: the mean of all regions, those that a batch leaves out too.

  For two stores it is the official average (g n + g' n') / (n + n'), where n
  and n' are one more than the regions of each.
  """
  means, counts = [], []
  for record in records:
    features = record["features"].astype(np.float32)
    if "feature_scale" in record:
      features *= record["feature_scale"][:, None]
    means.append(features.mean(axis=0))
    counts.append(record["num_regions"] + 1)
  if len(means) == 1:
    return means[0]
  return np.average(means, axis=0, weights=counts).astype(np.float32)
