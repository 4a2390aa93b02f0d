"""LMDBs of region features, as others write them."""

import collections
import io
import json
import pickle

import numpy as np

from tests.support.format_writers import (
  butd_row,
  mmf_info,
  uniter_arrays,
  volta_h5_row,
  volta_row,
)


def write_lmdb(path, records, *, keys_name=None, keys=None, subdir=True):
  import lmdb

  env = lmdb.open(str(path), map_size=1 << 30, subdir=subdir, lock=subdir)
  with env.begin(write=True) as transaction:
    for key, value in records:
      transaction.put(key, value)
    if keys_name:
      transaction.put(keys_name, keys)
  env.close()
  return path


def pickled_lmdb(path, corpus, row, protocol: int = 4):
  """A pickle of `row(image)` under the id of each image."""
  keys = [image.image_id.encode() for image in corpus]
  values = [pickle.dumps(row(image), protocol) for image in corpus]
  return write_lmdb(
    path,
    zip(keys, values, strict=True),
    keys_name=b"keys",
    keys=pickle.dumps(keys, protocol),
  )


def vilbert_lmdb(corpus, folder, *, classes=True, protocol=3):
  """All values are texts, as csv.DictReader of Python 3.6 gives them."""

  def row(image):
    texts = butd_row(image, classes=classes)
    return collections.OrderedDict((k, str(v)) for k, v in texts.items())

  return pickled_lmdb(folder / "flickr30k.lmdb", corpus, row, protocol)


def vilbert_lmdb_python2(corpus, folder):
  """What Python 2 wrote: protocol 0, texts as bytes."""

  def row(image):
    texts = butd_row(image, classes=True)
    return {name: str(value).encode() for name, value in texts.items()}

  return pickled_lmdb(folder / "flickr30k.lmdb", corpus, row, 0)


def vilbert_mt_lmdb(corpus, folder):
  def row(image):
    return {
      "image_id": image.image_id,
      "image_h": image.height,
      "image_w": image.width,
      "num_boxes": len(image.boxes) - 1,  # counts scores above 0 only
      "boxes": image.boxes,
      "features": image.features,
    }

  return pickled_lmdb(folder / "mt.lmdb", corpus, row)


def msgpack_numpy(value):
  """As msgpack_numpy encodes arrays, for msgpack's `default`."""
  if isinstance(value, np.ndarray):
    return {
      b"nd": True,
      b"type": value.dtype.str,
      b"kind": b"",
      b"shape": value.shape,
      b"data": value.tobytes(),
    }
  if isinstance(value, np.generic):
    return {b"nd": False, b"type": value.dtype.str, b"data": value.tobytes()}
  raise TypeError(type(value))


def pack(value) -> bytes:
  import msgpack

  return msgpack.packb(value, use_bin_type=True, default=msgpack_numpy)


def tensorpack_8(corpus, folder, *, dumps=pack):
  def item(image):
    sizes = map(str, (len(image.boxes), image.height, image.width))
    arrays = [image.features, image.class_probs, image.boxes]
    return [*arrays, *sizes, image.image_id, image.caption]

  return _tensorpack(folder / "training_feat_all.lmdb", corpus, item, dumps)


def tensorpack_8_pickle(corpus, folder):
  return tensorpack_8(corpus, folder, dumps=lambda v: pickle.dumps(v, -1))


def tensorpack_13(corpus, folder, *, dumps=pack):
  def item(image):
    R = len(image.boxes)
    return [
      *(image.features, image.class_probs),
      *(image.class_ids, image.class_scores),
      *(image.attribute_ids, image.attribute_scores),
      *(np.zeros((R, 401), np.float32), image.boxes),
      *(R, image.height, image.width, image.image_id, image.caption),
    ]

  return _tensorpack(folder / "cc_train.lmdb", corpus, item, dumps)


def tensorpack_13_pickle(corpus, folder):
  return tensorpack_13(corpus, folder, dumps=lambda v: pickle.dumps(v, -1))


def tensorpack_dict(corpus, folder):
  """VOLTA's converter from HDF5."""
  return _tensorpack(folder / "gqa.lmdb", corpus, volta_h5_row, pack)


def _tensorpack(path, corpus, item, dumps):
  keys = [f"{number:08}".encode() for number in range(len(corpus))]
  records = [
    (k, dumps(item(image))) for k, image in zip(keys, corpus, strict=True)
  ]
  return write_lmdb(
    path, records, keys_name=b"__keys__", keys=dumps(keys), subdir=False
  )


def volta_lmdb(corpus, folder):
  return pickled_lmdb(folder / "volta.lmdb", corpus, volta_row)


def volta_lmdb_arrays(corpus, folder):
  """Made from HDF5: arrays, and the names there."""
  return pickled_lmdb(folder / "volta.lmdb", corpus, volta_h5_row)


def _uniter_lmdb(corpus, path, dumps):
  keys = [f"coco_{image.image_id}.npz" for image in corpus]
  records = [
    (k.encode(), dumps(uniter_arrays(image)))
    for k, image in zip(keys, corpus, strict=True)
  ]
  return write_lmdb(
    path, records, keys_name=b"__keys__", keys=json.dumps(keys).encode()
  )


def uniter_lmdb(corpus, folder):
  return _uniter_lmdb(corpus, folder / "feat_th0.2_max100_min10", pack)


def uniter_lmdb_compressed(corpus, folder):
  def dumps(arrays):
    stream = io.BytesIO()
    # Their code passed this on as if it were one of the arrays.
    np.savez_compressed(stream, **arrays, **{"allow_pickle": np.array(False)})
    return stream.getvalue()

  return _uniter_lmdb(corpus, folder / "all_compressed", dumps)


def mmf_lmdb(corpus, folder):
  def row(image):
    return {
      "feature_path": image.image_id,
      "features": image.features,
      **mmf_info(image, background=False),
    }

  return pickled_lmdb(folder / "mmf.lmdb", corpus, row)
