"""KDD Cup 2020 multimodal recall: products, their regions and a query.

One row per query and product, so products repeat with other queries. Boxes are
top, left, bottom, right; classes are 33 and have no confidence.
"""

import pathlib
from collections.abc import Iterator

from input_pipeline.formats import tsv_file
from input_pipeline.formats.base import Format, ImageRegions, Part, each
from interbert_jax.contract.errors import DataError

COLUMNS = (
  "product_id",
  "image_h",
  "image_w",
  "num_boxes",
  "boxes",
  "features",
  "class_labels",
  "query",
  "query_id",
)
_HEADER = "\t".join(COLUMNS).encode()


def _detect(path: pathlib.Path) -> str | None:
  row = tsv_file.first_row(path, COLUMNS)
  if row is None or row.fields["product_id"] != b"product_id":
    return None
  return "a header of 9 columns from product_id to query_id"


def _read(part: Part) -> Iterator[ImageRegions | DataError]:
  for line in tsv_file.lines(part, columns=(len(COLUMNS),)):
    if isinstance(line, DataError):
      yield line
    elif line.columns[0] == b"product_id":
      if b"\t".join(line.columns) != _HEADER:
        found = b" ".join(line.columns).decode("utf-8", "replace")
        raise DataError(
          f"found the header {found}, wanted {' '.join(COLUMNS)}",
          file=line.place,
        )
    else:
      yield from each([line], _decode)


def _decode(line) -> ImageRegions:
  row = tsv_file.row(line, COLUMNS)
  image_id = row.read_id("product_id")
  width, height = row.size("image_w", "image_h")
  R = row.count("num_boxes")
  tlbr = row.b64_rows("boxes", "<f4", R, width=4)
  return ImageRegions(
    place=row.place,
    image_id=image_id,
    features=row.b64_rows("features", "<f4", R),
    boxes=tlbr[:, [1, 0, 3, 2]],
    width=width,
    height=height,
    class_ids=row.b64_column("class_labels", "<i8", R),
    caption=row.text("query"),
  )


FORMAT = Format(
  name="kdd_tsv",
  expects=f"TSV with a header: {', '.join(COLUMNS)} (KDD Cup 2020)",
  detect=_detect,
  split=tsv_file.split_tsv,
  read=_read,
  extractor="KDD Cup 2020, 33 classes",
  unit="B",
)
