"""What the service knows: a model, catalogues with pictures, what was sent.

One thread (batcher.py) asks for answers; others look for pictures and for newer
checkpoints.
"""

import collections
import functools
import pathlib
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from input_pipeline.catalogues.catalogue import Catalogue
from input_pipeline.checks.gallery import find_image
from interbert_jax.app.serve.settings import ServeSettings, named
from interbert_jax.app.use.images import Regions
from interbert_jax.app.use.index import VectorIndex
from interbert_jax.app.use.model import Model, load
from interbert_jax.app.use.topics import Wanted
from interbert_jax.contract.errors import ConfigError, DataError
from interbert_jax.contract.text import listed

_SENT = 64  # pictures that were sent and are kept
_SENT_NAME = "sent-"


class Unknown(Exception):
  """A catalogue or image that is not there."""


class Shelf:
  """A catalogue, and the folder of its pictures and its index, or None."""

  def __init__(
    self,
    catalogue: Catalogue,
    images: pathlib.Path | None,
    index: VectorIndex | None,
  ):
    self.catalogue, self.images, self.index = catalogue, images, index
    self.ids = frozenset(catalogue.item_ids)

  def picture(self, image_id: str) -> pathlib.Path | None:
    """Its file; only ids of the catalogue are looked for."""
    if self.images is None or image_id not in self.ids:
      return None
    return find_image(self.images, image_id)


class Answers:
  """A model and its catalogues of one moment.

  Args:
    sent: regions of pictures that were sent, by their ids.
    shortlist: how many images of an index are scored.
  """

  def __init__(
    self,
    model: Model,
    shelves: Mapping[str, Shelf],
    sent: Mapping[str, Regions],
    shortlist: int,
  ):
    self.model, self.shelves = model, shelves
    self._sent, self._count = sent, shortlist

  @property
  def step(self) -> int:
    """Of the checkpoint."""
    return self.model.run.step

  def shortlist(self, shelf: Shelf) -> dict[str, Any]:
    return {"index": shelf.index, "shortlist": self._count}

  def warm_up(self) -> None:
    """Compiles for short and longer questions, and computes what is kept."""
    for shelf in self.shelves.values():
      for text in ("a", "a " * 12):
        self.model.search(text, shelf.catalogue, top=1, **self.shortlist(shelf))
    first = shelf.catalogue.choose(shelf.catalogue.item_ids[:1])
    self.model.explain("a", first)

  def shelf(self, name: str) -> Shelf:
    shelves = self.shelves
    if not name:
      return next(iter(shelves.values()))
    if name not in shelves:
      raise Unknown(
        f"no catalogue {name!r}; wanted one of {listed(list(shelves), 9)}"
      )
    return shelves[name]

  def check_ids(self, image_ids: Sequence[str], shelf: Shelf) -> None:
    missing = [
      x for x in image_ids if x not in shelf.ids and x not in self._sent
    ]
    if missing:
      raise Unknown(f"no image with the id {listed(missing, 5)}")

  def search(
    self, requests: Sequence[tuple[str, int]], *, catalogue: str
  ) -> list[list[dict[str, Any]]]:
    """The best images for (text, how many) of several requests."""
    model, shelf = self.model, self.shelf(catalogue)
    found = model.search_all(
      [text for text, _ in requests],
      shelf.catalogue,
      top=max(top for _, top in requests),
      **self.shortlist(shelf),
    )
    return [
      [image._asdict() for image in images[:top]]
      for images, (_, top) in zip(found, requests, strict=True)
    ]

  def score(
    self, texts: Sequence[str], image_ids: Sequence[str], catalogue: str
  ) -> np.ndarray:
    """[texts, images]"""
    shelf = self.shelf(catalogue)
    self.check_ids(image_ids, shelf)
    out = np.zeros((len(texts), len(image_ids)), np.float32)
    for images, columns in self._groups(image_ids, shelf):
      out[:, columns] = self.model.score(texts, images)
    return out

  def _groups(self, image_ids: Sequence[str], shelf: Shelf):
    """Images of the catalogue, and those that were sent."""
    of_sent = np.array([x in self._sent for x in image_ids], bool)
    sent, stored = np.flatnonzero(of_sent), np.flatnonzero(~of_sent)
    if len(stored):
      chosen = [image_ids[n] for n in stored]
      yield shelf.catalogue.choose(chosen, wanted_by="the request"), stored
    if len(sent):
      yield [self._sent[image_ids[n]] for n in sent], sent

  def recommend(
    self,
    topics: Sequence[Wanted],
    catalogue: str,
    *,
    top: int,
    example_weight: float,
  ) -> list[list[dict[str, Any]]]:
    shelf = self.shelf(catalogue)
    for topic in topics:
      self.check_ids(topic.examples, shelf)
    ranked = self.model.recommend(
      topics,
      shelf.catalogue,
      top=top,
      example_weight=example_weight,
      **self.shortlist(shelf),
    )
    return [[image._asdict() for image in images] for images in ranked]

  def explain(self, text: str, image_id: str, catalogue: str) -> dict[str, Any]:
    shelf = self.shelf(catalogue)
    self.check_ids([image_id], shelf)
    ((images, _),) = self._groups([image_id], shelf)
    arrays = self.model.images.find(images).read([0])
    found = self.model.explain(text, images)
    return {
      "score": found.score,
      "tokens": list(found.tokens),
      "width": float(arrays["image_size"][0, 0]),
      "height": float(arrays["image_size"][0, 1]),
      "boxes": found.boxes.tolist(),
      "importance": found.importance.tolist(),
      "word_importance": found.word_importance.tolist(),
      "attention": _words_to_regions(found.attention, len(found.boxes)),
    }


class Service:
  """What answers now, and what may answer next."""

  def __init__(self, settings: ServeSettings):
    self._settings = settings
    self.sent: collections.OrderedDict[str, Regions] = collections.OrderedDict()
    self._open(load(settings.model))

  def _open(self, model: Model) -> None:
    stores = named(self._settings.catalogue) or [("", pathlib.Path())]
    folders = dict(named(self._settings.images))
    indexes = dict(named(self._settings.index))
    shelves = {}
    for name, store in stores:
      path = str(store) if str(store) != "." else ""
      catalogue = model.catalogue(path)
      beside = pathlib.Path(path or model.run.settings.input.store).parent
      images = folders.get(name) or folders.get("")
      if images is not None and not images.is_dir():
        raise ConfigError(f"images {images}: no such folder")
      if images is None and (beside / "images").is_dir():
        images = beside / "images"
      directory = indexes.get(name) or indexes.get("")
      index = directory and VectorIndex(directory)
      shelves[name or beside.name or "catalogue"] = Shelf(
        catalogue, images, index
      )
    answers = Answers(model, shelves, self.sent, self._settings.shortlist)
    answers.warm_up()
    self.now = answers  # requests that are being answered keep theirs

  def reload(self) -> bool:
    """Whether a newer checkpoint was found, and answers from now on."""
    path = pathlib.Path(self._settings.model)
    steps = path / "checkpoints"
    if not steps.is_dir():
      return False
    newest = max(
      (int(p.name) for p in steps.iterdir() if p.name.isdecimal()), default=-1
    )
    if newest <= self.now.step:
      return False
    try:
      model = load(path)
      if model.run.step <= self.now.step:
        return False
      self._open(model)
    # Such as a step that is being written, or an index of the old one.
    except (ValueError, OSError) as error:
      print(
        f"{path}: step {self.now.step} goes on answering: {error}",
        file=sys.stderr,
      )
      return False
    return True

  def send(self, picture: bytes) -> str:
    """Extracts regions of a picture; returns its id."""
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder) / "picture"
      path.write_bytes(picture)
      try:
        images = self.now.model.images.of_pictures([path])
      except DataError as error:
        raise DataError(str(error.problem), field="picture") from None
    name = f"{_SENT_NAME}{uuid.uuid4().hex}"
    self.sent[name] = images[0]
    while len(self.sent) > _SENT:
      self.sent.popitem(last=False)
    return name

  @functools.cached_property
  def can_extract(self) -> str:
    """Empty, or why pictures cannot be sent."""
    try:
      self.now.model.images.check_pictures()
    except (ValueError, ImportError) as error:
      return str(error)
    return ""


def _words_to_regions(attention: np.ndarray, regions: int) -> list[list[float]]:
  """[L, R] how much each word looks at each region: mean of heads, layers."""
  if not len(attention):
    return []
  mean_SS = attention.mean(axis=(0, 1))
  return mean_SS[1 + regions :, 1 : 1 + regions].tolist()
