"""KDD Cup 2020 multimodal recall: products, their regions and a query.

One row per query and product, so products repeat with other queries. Boxes are
top, left, bottom, right; classes are 33 and have no confidence.
"""

import pathlib
from collections.abc import Iterator

from input_pipeline.formats import tsv_file
from input_pipeline.formats.base import ImageRegions, Part, RegionFormat, each
from input_pipeline.formats.fields import Fields, read_image
from interbert_jax.contract.errors import DataError

COLUMNS = (
  *("product_id", "image_h", "image_w", "num_boxes", "boxes", "features"),
  *("class_labels", "query", "query_id"),
)
_FIELDS = Fields(
  width="image_w",
  height="image_h",
  image_id="product_id",
  num_boxes="num_boxes",
  class_ids="class_labels",
  required=("class_labels",),
  caption="query",
  base64=True,
)
_HEADER = "\t".join(COLUMNS).encode()


def _detect(path: pathlib.Path) -> str | None:
  row = tsv_file.first_row(path, COLUMNS)
  if row is None or row.fields["product_id"] != b"product_id":
    return None
  return "a header of 9 columns from product_id to query_id"


def _read(part: Part) -> Iterator[ImageRegions | DataError]:
  return each(_rows(part), _decode)


def _rows(part: Part) -> Iterator[tsv_file.Line | DataError]:
  """The lines but for the header, which must be the known one."""
  for line in tsv_file.lines(part, columns=(len(COLUMNS),)):
    if isinstance(line, DataError) or line.columns[0] != b"product_id":
      yield line
    elif b"\t".join(line.columns) != _HEADER:
      header = b" ".join(line.columns).decode("utf-8", "replace")
      raise DataError(
        f"found the header {header}, wanted {' '.join(COLUMNS)}",
        file=line.place,
      )


def _decode(line: tsv_file.Line) -> ImageRegions:
  image = read_image(tsv_file.row(line, COLUMNS), _FIELDS)
  image.boxes = image.boxes[:, [1, 0, 3, 2]]
  return image


FORMAT = RegionFormat(
  name="kdd_tsv",
  expects=f"TSV with a header: {', '.join(COLUMNS)} (KDD Cup 2020)",
  detect=_detect,
  split=tsv_file.split_tsv,
  read=_read,
  extractor="KDD Cup 2020, 33 classes",
  unit="B",
)
