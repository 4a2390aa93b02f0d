"""Images as people have them: region arrays, ids of a store, pictures.

Dimensions: N images, R region slots, r regions of an image, E feature width.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from input_pipeline.catalogues.catalogue import Catalogue
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.contract.errors import ConfigError, DataError
from interbert_jax.contract.text import listed


@dataclasses.dataclass(frozen=True)
class Regions:
  """The regions of one image.

  Attributes:
    features: [r, E], as the model was trained on.
    boxes: [r, 4]: x1, y1, x2, y2 in pixels.
    width, height: of the image, in pixels.
    image_id: what messages and results call it.
  """

  features: np.ndarray
  boxes: np.ndarray
  width: float
  height: float
  image_id: str = ""

  def check(self, feature_dim: int, place: str) -> None:
    """Raises DataError where the model could not be given these."""

    def refuse(field: str, found: str, wanted: str):
      raise DataError(
        f"found {found}, wanted {wanted}", file=place, field=field
      )

    shape = np.shape(self.features)
    if len(shape) != 2 or not shape[0] or shape[1] != feature_dim:
      refuse("features", f"shape {shape}", f"[regions, {feature_dim}]")
    if np.shape(self.boxes) != (shape[0], 4):
      refuse("boxes", f"shape {np.shape(self.boxes)}", f"({shape[0]}, 4)")
    for name in ("features", "boxes"):
      if not np.isfinite(np.asarray(getattr(self, name), np.float32)).all():
        refuse(name, "numbers that are not finite", "finite ones")
    for name in ("width", "height"):
      if not 0 < getattr(self, name) < np.inf:
        refuse(name, repr(getattr(self, name)), "pixels, above 0")


class ImageArrays:
  """Images in memory, read as a catalogue is (input_pipeline/catalogues/)."""

  def __init__(
    self,
    images: Sequence[Regions | Mapping],
    *,
    feature_dim: int,
    max_regions: int,
  ):
    self._images = [
      image if isinstance(image, Regions) else _regions(image, number)
      for number, image in enumerate(images)
    ]
    self._max_regions, self.feature_dim = max_regions, feature_dim
    self.item_ids = tuple(
      image.image_id or str(number) for number, image in enumerate(self._images)
    )
    for image, name in zip(self._images, self.item_ids, strict=True):
      image.check(feature_dim, f"image {name}")

  def __len__(self) -> int:
    return len(self._images)

  def read(self, items: Sequence[int]) -> dict[str, np.ndarray]:
    """As `Catalogue.read`."""
    N, R = len(items), self._max_regions
    out = {
      "region_features": np.zeros((N, R, self.feature_dim), np.float32),
      "region_boxes": np.zeros((N, R, 4), np.float32),
      "num_regions": np.zeros(N, np.int32),
      "image_size": np.ones((N, 2), np.float32),
    }
    for row, number in enumerate(items):
      image = self._images[number]
      count = min(len(image.features), R)
      out["region_features"][row, :count] = image.features[:count]
      out["region_boxes"][row, :count] = image.boxes[:count]
      out["num_regions"][row] = count
      out["image_size"][row] = image.width, image.height
    return out


def _regions(image: Mapping, number: int) -> Regions:
  names = [field.name for field in dataclasses.fields(Regions)]
  wanted = set(names) - {"image_id"}
  if not isinstance(image, Mapping) or not wanted <= set(image) <= set(names):
    found = ", ".join(map(str, image)) if isinstance(image, Mapping) else image
    raise DataError(
      f"found {found!r:.80}, wanted features, boxes, width and height",
      file=f"image {number}",
    )
  return Regions(**image)


class Pictures:
  """The extractor, whose networks are loaded when they are asked for.

  Args:
    settings: of tools/extract, such as max_regions.
  """

  def __init__(self, **settings):
    from tools.extract.models import describe_models
    from tools.extract.settings import RegionSettings

    self._settings = RegionSettings(**settings)
    self.name = describe_models(self._settings).extractor

  @functools.cached_property
  def _extract(self):
    from tools.extract.models import load_extractor

    return load_extractor(self._settings)

  def regions(self, paths: Sequence[pathlib.Path]) -> list[Regions]:
    from tools.extract.photos import open_photo

    photos = [
      open_photo(str(path.parent), path.name, max_side=self._settings.max_side)
      for path in paths
    ]
    return [
      Regions(
        features=np.asarray(found.features, np.float32),
        boxes=np.asarray(found.boxes, np.float32),
        width=found.width,
        height=found.height,
        image_id=str(path),
      )
      for path, found in zip(paths, self._extract(photos), strict=True)
    ]


# An array of them, ids of a store, paths of pictures, or a store itself.
Images = Catalogue | ImageArrays | str | Sequence[str | Regions | Mapping]


class ImageSource:
  """Finds the images that a model is asked about."""

  def __init__(self, run: TrainedRun):
    self._run = run
    # Runs of texts alone have none.
    self.max_regions = getattr(run.settings.input, "max_regions", 1)
    self._catalogues: dict[tuple[str, str], Catalogue] = {}

  def catalogue(self, store: str = "", items: str = "") -> Catalogue:
    """Images of a region store; what is computed of them is kept.

    Args:
      store: its directory; the run's own by default.
      items: a file of items (docs/recommendation.md), or all of them.
    """
    store = str(store or self._run.settings.input.store)
    key = store, str(items)
    if key not in self._catalogues:
      if not pathlib.Path(store).is_dir():
        raise ConfigError(
          f"store {store}: not found; name the directory of a region store, or "
          "give regions or pictures"
        )
      found = Catalogue(store, max_regions=self.max_regions, items=items)
      self._run.check_width(found.feature_dim)
      self._catalogues[key] = found
    return self._catalogues[key]

  def find(self, images: Images | None) -> Catalogue | ImageArrays:
    """Images in any form, as a catalogue; None for those of the run."""
    if images is None:
      return self.catalogue()
    if isinstance(images, Catalogue | ImageArrays):
      return images
    if isinstance(images, str | pathlib.Path):
      path = pathlib.Path(images)
      if path.is_dir():
        return self.catalogue(str(path))
      images = [images]
    if isinstance(images, Regions | Mapping):
      images = [images]
    images = list(images)
    names = [x for x in images if isinstance(x, str | pathlib.Path)]
    if not names:
      return self._arrays(images)
    if len(names) < len(images):
      raise ConfigError("images are ids or paths, or regions; found both")
    paths = [pathlib.Path(name) for name in names]
    if all(path.is_file() for path in paths):
      return self._arrays(self.of_pictures(paths))
    section = self._run.settings.input
    if not pathlib.Path(section.store).is_dir():
      missing = [str(path) for path in paths if not path.is_file()]
      raise DataError(
        f"no such picture, and no store with such an id: {listed(missing, 5)}",
        file=section.store or self._run.source,
      )
    return self.catalogue().choose(
      [str(name) for name in names], wanted_by="images"
    )

  def _arrays(self, images: Sequence[Regions | Mapping]) -> ImageArrays:
    return ImageArrays(
      images,
      feature_dim=self._run.model.region_feature_dim,
      max_regions=self.max_regions,
    )

  def of_pictures(self, paths: Sequence[pathlib.Path]) -> list[Regions]:
    """The regions of pictures, as the model was trained on them."""
    self.check_pictures()
    return self._pictures.regions(paths)

  def check_pictures(self) -> None:
    """Refuses pictures where their regions would be of another kind."""
    trained_on, here = self._run.meta.get("extractor"), self._pictures.name
    if trained_on and trained_on != here:
      raise ConfigError(
        f"{self._run.source}: was trained on regions of another extractor "
        f"({trained_on}) than pictures get here ({here}); give it regions of "
        "its own extractor"
      )

  @functools.cached_property
  def _pictures(self) -> Pictures:
    return Pictures(max_regions=min(self.max_regions, 100))
