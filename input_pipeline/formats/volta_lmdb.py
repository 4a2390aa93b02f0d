"""VOLTA's LMDB: pickled rows of its TSV, with img_h and img_w."""

import pathlib
from collections.abc import Iterator

from input_pipeline.formats import lmdb_file, lxmert_tsv
from input_pipeline.formats.arrays import Row
from input_pipeline.formats.base import Format, ImageRegions, Part
from input_pipeline.formats.pickled_row import first_pickled_row, read_rows
from interbert_jax.contract.errors import DataError

# Records made from h5 files have its names, and no number of boxes.
_H5 = {
  "obj_id": "objects_id",
  "obj_conf": "objects_conf",
  "attr_id": "attrs_id",
  "attr_conf": "attrs_conf",
}


def _detect(path: pathlib.Path) -> str | None:
  row = first_pickled_row(path)
  if row is None or not {"img_h", "img_w", "features"} <= set(row.fields):
    return None
  return "LMDB of pickled rows with img_h and img_w"


def _read(part: Part) -> Iterator[ImageRegions | DataError]:
  return read_rows(part, _from_row)


def _from_row(row: Row) -> ImageRegions:
  row.fields = {_H5.get(key, key): value for key, value in row.fields.items()}
  if "img_id" not in row:
    row.fields["img_id"] = row.image_id
  if "num_boxes" not in row:
    row.fields["num_boxes"] = len(
      row.rows("features", row.value("features"), None)
    )
  image = lxmert_tsv.from_row(row)
  if "cls_prob" in row:
    image.class_probs = row.b64_rows("cls_prob", "<f4", len(image.boxes))
  return image


FORMAT = Format(
  name="volta_lmdb",
  expects="LMDB of pickled rows: img_id, img_h, img_w, objects_id, ..., boxes, "
  "features[, cls_prob], base64 or arrays (VOLTA)",
  detect=_detect,
  split=lmdb_file.split_lmdb,
  read=_read,
  extractor="bottom-up attention, ResNet-101",
)
