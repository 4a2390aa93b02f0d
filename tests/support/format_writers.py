"""Writes a corpus in every format, each as its originators' scripts do.

Nothing here comes from the readers: names, orders and encodings are those of
the published code.
"""

import base64
import csv
import json
import pathlib
import zipfile

import numpy as np


def b64(array, dtype="<f4") -> str:
  return base64.b64encode(np.ascontiguousarray(array, dtype)).decode()


def new_folder(path) -> pathlib.Path:
  path.mkdir()
  return path


def write_tsv(path, names, rows, *, header=False) -> pathlib.Path:
  with path.open("w", newline="") as file:
    writer = csv.DictWriter(file, names, delimiter="\t", lineterminator="\n")
    if header:
      writer.writeheader()
    writer.writerows(rows)
  return path


BUTD = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")


def butd_row(image, *, classes: bool) -> dict:
  row = {
    "image_id": image.image_id,
    "image_w": image.width,
    "image_h": image.height,
    "num_boxes": len(image.boxes),
    "boxes": b64(image.boxes),
    "features": b64(image.features),
  }
  if classes:
    row["cls_prob"] = b64(image.class_probs)
  return row


def butd_tsv_6(corpus, folder):
  rows = [butd_row(image, classes=False) for image in corpus]
  return write_tsv(folder / "trainval.tsv", BUTD, rows)


def butd_tsv_7(corpus, folder):
  """Sharded extraction: .tsv.0, .tsv.1."""
  folder = new_folder(folder / "shards")
  rows = [butd_row(image, classes=True) for image in corpus]
  names = (*BUTD, "cls_prob")
  write_tsv(folder / "flickr.tsv.0", names, rows[:2])
  write_tsv(folder / "flickr.tsv.1", names, rows[2:])
  return folder


LXMERT = (
  *("img_id", "img_h", "img_w"),
  *("objects_id", "objects_conf", "attrs_id", "attrs_conf"),
  *("num_boxes", "boxes", "features"),
)


def lxmert_row(image) -> dict:
  return {
    "img_id": image.image_id,
    "img_h": image.height,
    "img_w": image.width,
    "objects_id": b64(image.class_ids, "<i8"),
    "objects_conf": b64(image.class_scores),
    "attrs_id": b64(image.attribute_ids, "<i8"),
    "attrs_conf": b64(image.attribute_scores),
    "num_boxes": len(image.boxes),
    "boxes": b64(image.boxes),
    "features": b64(image.features),
  }


def lxmert_tsv(corpus, folder):
  path = folder / "train2014_obj36.tsv"
  return write_tsv(path, LXMERT, map(lxmert_row, corpus))


def volta_row(image) -> dict:
  R = len(image.boxes)
  return {
    **lxmert_row(image),
    "cls_prob": b64(image.class_probs),
    "attrs": b64(np.zeros((R, 401))),
    "classes": b64(image.class_scores),
  }


def volta_tsv(corpus, folder):
  names = (*LXMERT, "cls_prob", "attrs", "classes")
  return write_tsv(folder / "volta.tsv", names, map(volta_row, corpus))


def vilbert_mt_npy(corpus, folder):
  folder = new_folder(folder / "mt")
  for image in corpus:
    info = {
      "image_id": image.image_id,
      "image_height": image.height,
      "image_width": image.width,
      "num_boxes": np.int64(len(image.boxes) - 1),
      "bbox": image.boxes,
      "features": image.features,
      "cls_prob": image.class_probs,
      "objects": image.class_ids[1:],  # one short, as published
    }
    np.save(folder / f"{image.image_id}.npy", info)
  return folder


def volta_h5_group(image) -> dict:
  return {
    "features": image.features,
    "obj_id": image.class_ids,
    "obj_conf": image.class_scores,
    "attr_id": image.attribute_ids,
    "attr_conf": image.attribute_scores,
    "boxes": image.boxes,
    "img_w": image.width,
    "img_h": image.height,
  }


def volta_h5_row(image) -> dict:
  return {"img_id": image.image_id, **volta_h5_group(image)}


def volta_h5(corpus, folder):
  import h5py

  path = folder / "volta.h5"
  with h5py.File(path, "w") as file:
    for image in corpus:
      group = file.create_group(image.image_id)
      for name, value in volta_h5_group(image).items():
        group.create_dataset(name, data=value)
  return path


def uniter_arrays(image, *, extra: int = 0) -> dict:
  """With `extra` weak detections behind those that count."""
  W, H = image.width, image.height
  unit = image.boxes / [W, H, W, H]
  sides = unit[:, 2:] - unit[:, :2]
  geometry = np.concatenate([unit, sides], 1)
  conf = image.class_scores[:, None]

  def more(rows):
    return np.concatenate([rows, np.repeat(rows[-1:], extra, 0)])

  return {
    "norm_bb": more(geometry).astype(np.float16),
    "features": more(image.features).astype(np.float16),
    "conf": more(conf).astype(np.float16),
    "soft_labels": more(image.class_probs).astype(np.float16),
  }


def uniter_npz(corpus, folder):
  folder = new_folder(folder / "features")
  counts = {}
  for image in corpus:
    name = f"coco_{image.image_id}.npz"
    np.savez(folder / name, **uniter_arrays(image, extra=2))
    counts[name] = len(image.boxes)
  (folder / "nbb_th0.2_max100_min10.json").write_text(json.dumps(counts))
  return folder


def vlbert_zip(corpus, folder):
  path = folder / "train_frcnn.zip"
  with zipfile.ZipFile(path, "w") as archive:
    for image in corpus:
      content = {
        "image_w": image.width,
        "image_h": image.height,
        "num_boxes": len(image.boxes),
        "boxes": b64(image.boxes),
        "features": b64(image.features),
        "classes": b64(image.class_probs),
      }
      archive.writestr(f"{image.image_id}.json", json.dumps(content))
  return path


def vinvl_tsv(corpus, folder, *, predictions=True):
  folder = new_folder(folder / "vinvl")
  lines, predicted = [], []
  for image in corpus:
    W, H = image.width, image.height
    unit = image.boxes / [W, H, W, H]
    both = [image.features, unit, unit[:, 2:] - unit[:, :2]]
    lines.append(
      f"{image.image_id}\t{len(unit)}\t{b64(np.concatenate(both, 1))}\n"
    )
    objects = [
      {"class": "dog", "rect": box.tolist(), "conf": float(conf)}
      for box, conf in zip(image.boxes, image.class_scores, strict=True)
    ]
    content = {"objects": objects, "image_h": H, "image_w": W}
    predicted.append(f"{image.image_id}\t{json.dumps(content)}\n")
  (folder / "features.tsv").write_text("".join(lines))
  if predictions:
    (folder / "predictions.tsv").write_text("".join(predicted))
  return folder


def mmf_info(image, *, background: bool) -> dict:
  return {
    "bbox": image.boxes,
    "num_boxes": len(image.boxes),
    "objects": image.class_ids + int(background),
    "cls_prob": image.class_probs if background else image.class_probs[:, 1:],
    "image_width": image.width,
    "image_height": image.height,
  }


def mmf_npy(corpus, folder, *, background=False):
  folder = new_folder(folder / "mmf")
  for image in corpus:
    np.save(folder / f"{image.image_id}.npy", image.features)
    np.save(
      folder / f"{image.image_id}_info.npy",
      mmf_info(image, background=background),
    )
  return folder


def mmf_npy_background(corpus, folder):
  return mmf_npy(corpus, folder, background=True)


def milvlg_npz(corpus, folder):
  folder = new_folder(folder / "milvlg")
  for image in corpus:
    R = len(image.boxes)
    size = {"image_h": image.height, "image_w": image.width}
    info = {
      "image_id": image.image_id,
      **size,
      "num_boxes": R,
      "objects_id": image.class_ids,
      "objects_conf": image.class_scores,
      "attrs_id": image.attribute_ids,
      "attrs_conf": image.attribute_scores,
    }
    np.savez_compressed(
      folder / image.image_id,
      x=image.features,
      bbox=image.boxes,
      num_bbox=R,
      **size,
      info=info,
    )
  return folder


def scan_npy(corpus, folder):
  """All images have as many regions as the one with fewest."""
  folder = new_folder(folder / "f30k_precomp")
  R = min(len(image.boxes) for image in corpus)
  features = np.stack([image.features[:R] for image in corpus])
  np.save(folder / "dev_ims.npy", features)
  ids = "".join(f"{image.image_id}\n" for image in corpus)
  (folder / "dev_ids.txt").write_text(ids)
  return folder


def tern_npz(corpus, folder):
  features, boxes = folder / "cocobu_att", folder / "cocobu_box"
  features.mkdir()
  boxes.mkdir()
  for image in corpus:
    np.savez_compressed(features / image.image_id, feat=image.features)
    np.save(boxes / f"{image.image_id}.npy", image.boxes)
  return folder


KDD = (
  *("product_id", "image_h", "image_w", "num_boxes", "boxes", "features"),
  *("class_labels", "query", "query_id"),
)


def kdd_tsv(corpus, folder):
  """The first product comes again with another query."""
  rows = [
    {
      "product_id": image.image_id,
      "image_h": image.height,
      "image_w": image.width,
      "num_boxes": len(image.boxes),
      "boxes": b64(image.boxes[:, [1, 0, 3, 2]]),
      "features": b64(image.features),
      "class_labels": b64(image.class_ids % 33, "<i8"),
      "query": image.caption,
      "query_id": number,
    }
    for number, image in enumerate(corpus)
  ]
  rows.append({**rows[0], "query": 'a "second" query', "query_id": 99})
  path = folder / "train.tsv"
  lines = ["\t".join(KDD), *("\t".join(map(str, r.values())) for r in rows)]
  path.write_text("".join(line + "\n" for line in lines))
  return path
