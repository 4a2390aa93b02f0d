"""A page of images with their regions, class names and captions.

Stores and captions are not trusted: texts are escaped, the page runs no script,
files are named by number, and image ids never lead out of the folder of images.
"""

import pathlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from input_pipeline.store.schema import best_classes
from interbert_jax.contract.errors import DataError, import_optional
from interbert_jax.contract.files import check_regular

_MAX_PIXELS = 100_000_000  # a photograph takes three bytes per pixel
_LABEL = 40  # characters of a class name that are drawn
MAX_SIDE = 640  # pixels of a drawn image
_LABELS = 12  # boxes with a name; more would cover each other
_CAPTION = 200  # characters of a caption that are drawn; the page has all
_EXTENSIONS = ("", ".jpg", ".jpeg", ".png", ".webp", ".JPG", ".JPEG")
_GREY = (205, 208, 213)

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none';
 img-src 'self' file:; style-src 'unsafe-inline'">
<title>{{ title }}</title>
<style>
  body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto;
         max-width: 76rem; padding: 0 1rem; color: #1e222a; }
  main { display: grid; gap: 1.5rem;
         grid-template-columns: repeat(auto-fill, minmax(22rem, 1fr)); }
  article { border: 1px solid #d8dce2; border-radius: 6px; padding: .75rem; }
  img { max-width: 100%; display: block; margin: 0 auto .5rem; }
  h2 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
  p { margin: .15rem 0; color: #5a616d; }
  ul { margin: .4rem 0 0; padding-left: 1.2rem; overflow-wrap: anywhere; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
<p>{{ images | length }} images; the best boxes have a name, all others a grey
line. {{ note }}</p>
<main>
{% for image in images %}
<article>
<img src="{{ image.file }}" alt="Regions of image {{ image.image_id }}">
<h2>{{ image.image_id }}</h2>
<p>{{ image.width }} &times; {{ image.height }}, {{ image.num_regions }} regions
{%- if image.split %}, {{ image.split }}{% endif %}</p>
<ul>{% for caption in image.captions %}<li>{{ caption }}</li>{% endfor %}</ul>
</article>
{% endfor %}
</main>
</body>
</html>
"""


@dataclass
class GalleryImage:
  """An image on the page, where its texts are escaped."""

  file: str
  image_id: str
  width: int
  height: int
  num_regions: int
  split: str
  captions: list[str]


def write_gallery(
  directory: str | pathlib.Path,
  records: Sequence[Mapping[str, Any]],
  *,
  captions: Mapping[str, tuple[str, list[str]]],
  images: str | pathlib.Path | None,
  class_names: Sequence[str] | None,
  background_class: int | None,
  title: str,
  font: str | pathlib.Path | None = None,
) -> pathlib.Path:
  """Draws records and writes index.html; returns its path.

  Args:
    directory: directory of the page and its PNGs; made if it is missing.
    records: records of the store.
    captions: image id -> (split, captions).
    images: folder with files named by image id; None for grey canvases.
    class_names: names of the class ids, without background; None for numbers.
    background_class: column of class_probs that means no object.
    title: title of the page.
    font: font file for the texts in the pictures; without it, captions that
      Pillow's own font cannot show are on the page alone.
  """
  jinja2 = import_optional("jinja2")
  directory = pathlib.Path(directory)
  directory.mkdir(parents=True, exist_ok=True)
  shown, drawn_on = [], 0
  for number, record in enumerate(records):
    photo = None if images is None else find_image(images, record["image_id"])
    drawn_on += photo is not None
    split, texts = captions.get(record["image_id"], ("", []))
    picture = draw_record(
      record,
      photo=photo,
      class_names=class_names,
      background_class=background_class,
      caption=next((t for t in texts if font or _is_latin(t)), None),
      font=font,
    )
    file = f"{number:03}.png"
    picture.save(directory / file)
    size = {key: record[key] for key in ("width", "height", "num_regions")}
    shown.append(
      GalleryImage(
        file, record["image_id"], **size, split=split, captions=texts
      )
    )
  note = (
    "Without --images they are drawn on grey."
    if images is None
    else f"{drawn_on} image files were found."
  )
  page = jinja2.Environment(autoescape=True).from_string(_PAGE)
  path = directory / "index.html"
  path.write_text(page.render(title=title, images=shown, note=note), "utf-8")
  return path


def find_image(
  folder: str | pathlib.Path, image_id: str
) -> pathlib.Path | None:
  """The file of an image, never one outside the folder."""
  root = pathlib.Path(folder).resolve()
  names = [image_id]
  if image_id.isdecimal() and image_id.isascii():
    names.append(f"{int(image_id):012}")  # COCO's files
  for name in names:
    for extension in _EXTENSIONS:
      try:
        path = (root / f"{name}{extension}").resolve()
        if path.is_relative_to(root) and path.is_file():
          return path
      except (OSError, ValueError):  # a name that no file can have
        continue
  return None


def draw_record(
  record: Mapping[str, Any],
  *,
  photo: pathlib.Path | None,
  class_names: Sequence[str] | None,
  background_class: int | None,
  caption: str | None = None,
  font: str | pathlib.Path | None = None,
):
  """A picture of a record's regions, the caption below."""
  from PIL import Image

  from input_pipeline.checks.drawing import draw_regions

  width, height = max(record["width"], 1), max(record["height"], 1)
  scale = min(1.0, MAX_SIDE / max(width, height))
  size = (max(1, round(width * scale)), max(1, round(height * scale)))
  canvas = Image.new("RGB", size, _GREY)
  if photo is not None:
    canvas = _read_photo(photo, size)
  boxes = np.nan_to_num(record["boxes"].astype(np.float64)) * scale
  boxes = boxes.clip(0, [*size, *size])
  # A box can be drawn only if its first corner comes first.
  boxes = np.concatenate(
    [
      np.minimum(boxes[:, :2], boxes[:, 2:]),
      np.maximum(boxes[:, :2], boxes[:, 2:]),
    ],
    axis=1,
  )
  labels = _labels(record, class_names, background_class)
  return draw_regions(
    canvas,
    boxes,
    labels=None if labels is None else labels[:_LABELS],
    caption=None if caption is None else caption[:_CAPTION],
    scale=1,
    font=None if font is None else str(font),
  )


def _read_photo(photo: pathlib.Path, size: tuple[int, int]):
  """The image in this size; refuses what is not an image, or is huge."""
  from PIL import Image, ImageOps

  try:
    with warnings.catch_warnings():
      # Pillow warns of large images and odd metadata.
      warnings.simplefilter("ignore")
      with Image.open(photo) as opened:
        if opened.width * opened.height > _MAX_PIXELS:
          raise ValueError(f"{opened.width} x {opened.height} pixels")
        return ImageOps.exif_transpose(opened).convert("RGB").resize(size)
  except MemoryError:
    raise
  except Exception as e:  # Pillow raises anything for damaged files
    raise DataError(
      f"not readable as image: {' '.join(str(e).split())}",
      file=photo,
      hint="remove it, or leave --images out",
    ) from None


def _is_latin(text: str) -> bool:
  return all(ord(character) < 0x250 for character in text)


def _labels(
  record: Mapping[str, Any],
  names: Sequence[str] | None,
  background_class: int | None,
) -> list[str] | None:
  """A name and a score for each region; None without classes."""
  classes = best_classes(record, background_class=background_class)
  if classes is None:
    return None
  ids, scores = classes
  if scores is None:
    scores = [None] * len(ids)
  labels = []
  for index, score in zip(ids, scores, strict=True):
    known = names is not None and 0 <= index < len(names)
    name = names[index][:_LABEL] if known else f"class {index}"
    labels.append(name if score is None else f"{name} {score:.2f}")
  return labels


def read_class_names(path: str | pathlib.Path) -> list[str]:
  """A name per line; of synonyms after a comma the first."""
  check_regular(path)
  try:
    text = pathlib.Path(path).read_text("utf-8")
  except (OSError, UnicodeDecodeError) as e:
    raise DataError(
      f"not readable as names, one a line: {e}", file=path
    ) from None
  return [line.split(",")[0].strip() for line in text.splitlines()]
