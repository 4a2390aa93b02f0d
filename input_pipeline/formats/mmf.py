"""MMF's LMDB of pickled dicts, and its extraction: ID.npy and ID_info.npy."""

import pathlib

from input_pipeline.formats.arrays import Row
from input_pipeline.formats.base import ImageRegions
from input_pipeline.formats.directory import INFO, folder_format
from input_pipeline.formats.fields import Fields, read_image
from input_pipeline.formats.npz_file import read_dict, read_npy
from input_pipeline.formats.pickled_row import pickled_lmdb
from interbert_jax.contract.errors import DataError

_EXTRACTOR = "MMF, Faster R-CNN"
_SUFFIX = ".npy"
_WITH_PROBS = Fields(
  width="image_width",
  height="image_height",
  boxes="bbox",
  class_probs="cls_prob",
  cuts_background=True,
)
# Read where there are no probabilities: some versions count the background.
_WITH_IDS = _WITH_PROBS._replace(class_probs=None, class_ids="objects")


def _read_record(row: Row) -> ImageRegions:
  if "bbox" not in row:
    raise row.refuse(
      "bbox", "missing: the record has features only", "extract with info"
    )
  return read_image(row, _WITH_PROBS if "cls_prob" in row else _WITH_IDS)


def _read_files(file: pathlib.Path, root: pathlib.Path) -> ImageRegions:
  info = file.with_name(file.name.removesuffix(_SUFFIX) + INFO)
  if not info.is_file():
    raise DataError(
      f"no {info.name} beside it, wanted bbox and the image size",
      file=file,
      hint="extract with info",
    )
  features = read_npy(file, file=file)
  image_id = file.relative_to(root).as_posix().removesuffix(_SUFFIX)
  row = Row(
    {**read_dict(info), "features": features},
    place=str(file),
    image_id=image_id,
  )
  return _read_record(row)


MMF_LMDB = pickled_lmdb(
  name="mmf_lmdb",
  expects="LMDB of pickled dicts: feature_path, features, bbox, cls_prob, "
  "image_width, image_height (MMF)",
  keys=("feature_path", "features"),
  looks="LMDB of pickled dicts with feature_path",
  decode=_read_record,
  extractor=_EXTRACTOR,
)
MMF_NPY = folder_format(
  name="mmf_npy",
  expects="directory of ID.npy and ID_info.npy with bbox, image_width, "
  "image_height[, cls_prob, objects] (MMF)",
  suffix=_SUFFIX,
  without=INFO,
  keys=(),
  decode=_read_files,
  extractor=_EXTRACTOR,
)
