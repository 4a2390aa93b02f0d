"""A folder of images: which there are, and one of them in memory."""

import functools
import hashlib
import os
import pathlib
import warnings
from typing import NamedTuple

from PIL import Image, ImageOps

from input_pipeline.formats.directory import walk_files
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import check_regular

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
MAX_PIXELS = 100_000_000  # three bytes each; larger ones are no photographs


class Photo(NamedTuple):
  """An image, upright and in RGB.

  Attributes:
    place: its file, for messages.
    image_id: its path in the folder, without extension.
    image: at most max_side pixels wide and high.
    width: of the original, as it is to be looked at.
    height: of the original.
  """

  place: str
  image_id: str
  image: Image.Image
  width: int
  height: int


class Listing(NamedTuple):
  """The images of a folder."""

  names: tuple[str, ...]  # relative paths, sorted
  sha256: str  # of the names


def image_id_of(name: str) -> str:
  """The path without extension; "/" between folders on any system."""
  return os.path.splitext(name)[0].replace(os.sep, "/")


@functools.lru_cache(maxsize=1)
def list_photos(folder: str) -> Listing:
  """Finds the images below a folder, by their extensions.

  Raises:
    DataError: there is no folder, it has no images, or two have one id.
  """
  if not os.path.isdir(folder):
    kind = "a file" if os.path.exists(folder) else "nothing"
    raise DataError(f"found {kind}, wanted a folder of images", file=folder)
  files = list(walk_files(folder))
  names = sorted(n for n in files if n.lower().endswith(EXTENSIONS))
  if not names:
    raise DataError(
      f"found no images and {len(files)} other files, wanted files ending in "
      f"{', '.join(EXTENSIONS)}, in the folder or below it",
      file=folder,
    )
  name_of: dict[str, str] = {}
  for name in names:
    before = name_of.setdefault(image_id_of(name), name)
    if before != name:
      raise DataError(
        f"found {before} and {name}, which would have one id",
        file=folder,
        record=f"(image id {image_id_of(name)!r})",
        hint="rename or move one of them",
      )
  joined = "".join(f"{name}\0" for name in names)
  digest = hashlib.sha256(joined.encode("utf-8", "surrogateescape"))
  return Listing(tuple(names), digest.hexdigest())


def open_photo(folder: str, name: str, *, max_side: int) -> Photo:
  """Decodes an image.

  Raises:
    DataError: it cannot be read, or has more pixels than a photograph.
  """
  path = pathlib.Path(folder) / name
  check_regular(path)
  with warnings.catch_warnings():
    # Warnings of large images and of odd metadata; what matters is an error.
    warnings.simplefilter("ignore")
    try:
      with Image.open(path) as image:
        _check_size(image, path)
        return _decode(image, path, name, max_side)
    except Image.DecompressionBombError:
      raise _too_large("far more", path) from None
    except (DataError, MemoryError):
      raise
    except Exception as error:  # Pillow raises anything for damaged files
      text = " ".join(str(error).split()) or type(error).__name__
      if isinstance(error, Image.UnidentifiedImageError):
        size = path.stat().st_size
        text = f"no image that Pillow knows, {size} bytes"
      raise DataError(
        f"cannot be decoded: {text}",
        file=path,
        hint="--on_bad_record=skip leaves such images out",
      ) from None


def _check_size(image: Image.Image, path: pathlib.Path) -> None:
  pixels = image.width * image.height
  if pixels > MAX_PIXELS:
    raise _too_large(f"{image.width} x {image.height}", path)
  if pixels == 0:
    raise DataError("found an image without pixels", file=path)


def _too_large(size: str, path: pathlib.Path) -> DataError:
  return DataError(
    f"found {size} pixels, wanted at most {MAX_PIXELS:,}",
    file=path,
    hint="shrink it, or --on_bad_record=skip",
  )


def _decode(
  image: Image.Image, path: pathlib.Path, name: str, max_side: int
) -> Photo:
  width, height = image.size
  turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
  if turned:
    width, height = height, width
  if max(image.size) > max_side:
    # JPEG can be decoded at a half, a quarter or an eighth, which is faster.
    share = max_side / max(image.size)
    image.draft("RGB", tuple(round(side * share) for side in image.size))
  upright = _to_rgb(ImageOps.exif_transpose(image))
  share = max_side / max(upright.size)
  if share < 1:
    upright = upright.resize(
      tuple(max(1, round(side * share)) for side in upright.size),
      Image.Resampling.BILINEAR,
    )
  return Photo(str(path), image_id_of(name), upright, width, height)


def _to_rgb(image: Image.Image) -> Image.Image:
  """Transparent images lie on white, as on the pages they come from."""
  if image.mode.startswith("I;16"):
    image = image.point(lambda level: level / 256).convert("L")
  if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
    image = image.convert("RGBA")
    paper = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(paper, image).convert("RGB")
  return image.convert("RGB")
