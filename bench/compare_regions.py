"""How far extraction agrees with stored regions of the same photos.

  python -m bench.compare_regions --images=DIR --stored=regions36.npz \\
    --output=docs/extract_agreement.json --picture=docs/images/extracted.png

The stored regions come from the same networks, but from the photos in their
original size, of which DIR has smaller copies. Boxes are compared in pixels of
the original. Features are compared for crops of the stored boxes, so that the
boxes play no part. --draw=FOLDER draws both on the photos, to look at.

Dimensions: R regions.
"""

import collections
import pathlib

import numpy as np
from PIL import Image

from bench.measuring import make_parser, write_result
from input_pipeline.checks.drawing import draw_regions

# Of COCO's 80 classes, in the order of the detector.
_CLASSES = (
  "person,bicycle,car,motorbike,aeroplane,bus,train,truck,boat,traffic light,"
  "fire hydrant,stop sign,parking meter,bench,bird,cat,dog,horse,sheep,cow,"
  "elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,suitcase,frisbee,"
  "skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,"
  "surfboard,tennis racket,bottle,wine glass,cup,fork,knife,spoon,bowl,banana,"
  "apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,sofa,"
  "potted plant,bed,dining table,toilet,monitor,laptop,mouse,remote,keyboard,"
  "phone,microwave,oven,toaster,sink,refrigerator,book,clock,vase,scissors,"
  "teddy bear,hair drier,toothbrush"
).split(",")


def compare(folder: pathlib.Path, stored) -> tuple[dict, list]:
  """Returns the numbers, and of each photo what is drawn."""
  from tools.extract.models import load_extractor
  from tools.extract.networks.boxes import iou
  from tools.extract.photos import open_photo
  from tools.extract.regions import cut_crops
  from tools.extract.settings import RegionSettings

  settings = RegionSettings(min_regions=1)
  extractor = load_extractor(settings)
  rows = collections.defaultdict(list)
  pictures = []
  for number, image_id in enumerate(stored["image_id"].tolist()):
    name = f"{image_id:012d}.jpg"
    photo = open_photo(str(folder), name, max_side=settings.max_side)
    height, width = stored["hw"][number].tolist()
    photo = photo._replace(width=width, height=height)
    (ours,) = extractor.find_boxes([photo])
    R = int(stored["num_det"][number])
    theirs_R4 = stored["boxes"][number, :R]
    scores_RC = stored["det80"][number, :R].astype(np.float32)
    overlap = iou(theirs_R4, ours.boxes_R4)
    rows["iou"] += overlap.max(1).tolist()
    rows["score"] += scores_RC.max(1).tolist()
    # Objects of several classes may lie in one place, in any order.
    same = scores_RC.argmax(1)[:, None] == ours.class_ids_R
    rows["same"] += (same & (overlap > 0.5)).any(1).tolist()
    rows["count"].append(len(ours.boxes_R4) - R)
    every_R4 = stored["boxes"][number]
    features, probs = extractor.encode(
      cut_crops(photo, every_R4, side=settings.crop_size)
    )
    wanted = stored["features"][number].astype(np.float32)
    rows["cosine"] += _cosine(features, wanted).tolist()
    rows["head"] += _cosine(features[:, :1280], wanted[:, :1280]).tolist()
    top1 = stored["cls1000"][number].argmax(1)
    rows["top1"] += (probs.argmax(1) == top1).tolist()
    sides = (every_R4[:, 2:] - every_R4[:, :2]).min(1)
    rows["side"] += (sides * photo.image.width / width).tolist()
    pictures.append((photo, theirs_R4, scores_RC, ours))
  return _summarise({k: np.array(v) for k, v in rows.items()}), pictures


def _cosine(a, b):
  return (a * b).sum(1) / (
    np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
  )


def _summarise(rows: dict[str, np.ndarray]) -> dict:
  iou, score, side = rows["iou"], rows["score"], rows["side"]

  def of_boxes(chosen):
    return {
      "stored_boxes": int(chosen.sum()),
      "median_iou": float(np.median(iou[chosen])),
      "share_iou_above_0.5": float((iou[chosen] > 0.5).mean()),
      "share_iou_above_0.9": float((iou[chosen] > 0.9).mean()),
      "share_same_class_and_iou_above_0.5": float(rows["same"][chosen].mean()),
    }

  def of_features(chosen):
    return {
      "crops": int(chosen.sum()),
      "median_cosine": float(np.median(rows["cosine"][chosen])),
      "mean_cosine": float(rows["cosine"][chosen].mean()),
      "mean_cosine_of_head": float(rows["head"][chosen].mean()),
      "same_top1": float(rows["top1"][chosen].mean()),
    }

  return {
    "photos": len(rows["count"]),
    "photos_with_as_many_boxes": int((rows["count"] == 0).sum()),
    "mean_difference_in_boxes": float(np.abs(rows["count"]).mean()),
    "boxes": {
      "all": of_boxes(score > -np.inf),
      "score_above_0.1": of_boxes(score > 0.1),
      "score_above_0.3": of_boxes(score > 0.3),
    },
    "features": {
      "all": of_features(side > -np.inf),
      "side_under_32": of_features(side < 32),
      "side_32_to_96": of_features((side >= 32) & (side < 96)),
      "side_96_to_200": of_features((side >= 96) & (side < 200)),
      "side_above_200": of_features(side >= 200),
    },
  }


_FLOOR = 0.15  # boxes with lower scores have no name


def draw(picture, *, background: bool) -> Image.Image:
  """Stored regions left, ours right, on the photo or on grey."""
  photo, theirs_R4, scores_RC, ours = picture
  share = 480 / max(photo.width, photo.height)
  size = (round(photo.width * share), round(photo.height * share))
  canvas = Image.new("RGB", size, (226, 229, 233))
  if background:
    canvas = photo.image.resize(size, Image.Resampling.LANCZOS)
  sides = []
  for title, boxes_R4, class_ids_R, scores_R in (
    ("stored", theirs_R4, scores_RC.argmax(1), scores_RC.max(1)),
    ("python -m tools.extract", *ours[:3]),
  ):
    order = np.argsort(-scores_R, kind="stable")
    labels = [
      f"{_CLASSES[class_ids_R[i]]} {scores_R[i]:.2f}"
      for i in order
      if scores_R[i] >= _FLOOR
    ]
    sides.append(
      draw_regions(
        canvas, boxes_R4[order] * share, labels=labels, caption=title, scale=1
      )
    )
  paper = Image.new("RGB", (2 * sides[0].width, sides[0].height), "white")
  for number, side in enumerate(sides):
    paper.paste(side, (number * side.width, 0))
  return paper


def main():
  parser = make_parser(__doc__)
  parser.add_argument("--images", type=pathlib.Path, required=True)
  parser.add_argument("--stored", type=pathlib.Path, required=True)
  parser.add_argument(
    "--draw", type=pathlib.Path, help="folder for photos with both boxes"
  )
  parser.add_argument(
    "--picture", type=pathlib.Path, help="boxes of one photo, without the photo"
  )
  parser.add_argument("--photo", type=int, help="its id, for --picture")
  options = parser.parse_args()
  from tools.extract.__main__ import use_one_core

  use_one_core()  # before anything imports JAX
  with np.load(options.stored, allow_pickle=False) as stored:
    stored = dict(stored)
  numbers, pictures = compare(options.images, stored)
  write_result(numbers, options.output)
  ids = stored["image_id"].tolist()
  if options.draw:
    options.draw.mkdir(parents=True, exist_ok=True)
    for image_id, picture in zip(ids, pictures, strict=True):
      path = options.draw / f"{image_id}.jpg"
      draw(picture, background=True).save(path, quality=85)
  if options.picture:
    chosen = ids.index(options.photo) if options.photo else 0
    image = draw(pictures[chosen], background=False)
    image.save(options.picture, optimize=True)


if __name__ == "__main__":
  main()
