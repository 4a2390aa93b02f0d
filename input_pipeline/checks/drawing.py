"""Draws an image with its regions and a caption, for people to look at."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from interbert_jax.contract.errors import DataError

_INK = (30, 34, 42)
_PAPER = (255, 255, 255)
_GREY = (120, 126, 136)
_COLORS = (
  (0, 114, 178),
  (213, 94, 0),
  (0, 135, 100),
  (170, 60, 140),
  (110, 80, 20),
  (60, 60, 200),
)
_MARGIN = 16


def draw_regions(
  image: Image.Image,
  boxes: np.ndarray,
  *,
  labels: Sequence[str] | None = None,
  caption: str | None = None,
  scale: int = 2,
  font: str | None = None,
) -> Image.Image:
  """Returns the image on white paper, boxes drawn on it, the caption below.

  Args:
    image: RGB.
    boxes: [R, 4] pixels of the image, best first.
    labels: names of the first boxes. Boxes with a name get a colour, the others
      a thin grey line; without labels every box gets a colour.
    caption: one sentence; long ones are broken into lines.
    scale: how much larger than the image.
    font: a font file, needed for Chinese text; Pillow's own if None.
  """
  caption = None if caption is None else _one_line(caption)
  small, large = (_load_font(font, size) for size in (13, 19))
  width, height = image.width * scale, image.height * scale
  lines = _break(caption, large, width) if caption else []
  line_height = 27
  below = _MARGIN + line_height * len(lines) if lines else 0
  paper = Image.new(
    "RGB", (width + 2 * _MARGIN, height + 2 * _MARGIN + below), _PAPER
  )
  picture = image.convert("RGB").resize(
    (width, height), Image.Resampling.LANCZOS
  )
  pen = ImageDraw.Draw(picture, "RGBA")
  named = len(boxes) if labels is None else len(labels)
  for index in reversed(range(len(boxes))):  # the best end up on top
    corners = [float(v) * scale for v in boxes[index]]
    corners[2], corners[3] = corners[2] - 1, corners[3] - 1
    if index >= named:
      pen.rectangle(corners, outline=(*_GREY, 110), width=1)
      continue
    color = _COLORS[index % len(_COLORS)]
    pen.rectangle(corners, outline=color, width=3)
    if labels is not None:
      _draw_label(
        pen, _one_line(labels[index]), corners, color, small, picture.size
      )
  paper.paste(picture, (_MARGIN, _MARGIN))
  pen = ImageDraw.Draw(paper)
  for number, line in enumerate(lines):
    y = height + 2 * _MARGIN + number * line_height
    pen.text((_MARGIN, y), line, font=large, fill=_INK)
  return paper


def _one_line(text: str) -> str:
  """Pillow refuses line breaks here; texts come from data."""
  return " ".join(text.split())


def _load_font(path: str | None, size: int):
  if path is None:
    return ImageFont.load_default(size)
  try:
    return ImageFont.truetype(path, size)
  except OSError as error:
    raise DataError(f"not readable as font: {error}", file=path) from None


def _draw_label(pen, text, corners, color, font, size) -> None:
  """Writes on a flag above the box, or in it where there is no room above."""
  wide, high = pen.textlength(text, font=font) + 10, 20
  x = max(0, min(corners[0], size[0] - wide))
  y = corners[1] - high if corners[1] >= high else corners[1]
  pen.rectangle((x, y, x + wide, y + high), fill=color)
  pen.text((x + 5, y + high / 2), text, font=font, fill=_PAPER, anchor="lm")


def _break(text: str, font, width: int) -> list[str]:
  """Returns lines that fit; text without spaces breaks between characters."""
  glue = " " if " " in text else ""
  lines = [""]
  for piece in text.split() if glue else text:
    longer = lines[-1] + glue + piece if lines[-1] else piece
    if lines[-1] and font.getlength(longer) > width:
      lines.append(piece)
    else:
      lines[-1] = longer
  return lines
