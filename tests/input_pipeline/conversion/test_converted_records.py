"""Conversion: what a record holds, whatever the source has of it."""

import json

import numpy as np
import pytest

from input_pipeline.conversion.run import convert
from input_pipeline.conversion.settings import ConversionSettings
from interbert_jax.contract.errors import DataError
from tests.support.corpus import C, make_image
from tests.support.refusals import refused
from tests.support.seed_format import FORMAT, converted, made, write_seeds


def shuffled(image_id="im0"):
  """An image whose best region is the third."""
  image = make_image(image_id)
  order = [2, 1, 0, 4, 3]
  return image, {
    "id": image_id,
    "seed": 0,
    "set": {
      field: getattr(image, field)[order].tolist()
      for field in ("features", "boxes", "class_probs", "class_scores")
    }
    | {"class_ids": None, "attribute_ids": None, "attribute_scores": None},
  }


@pytest.mark.parametrize("order", ["score", "stored"])
@pytest.mark.parametrize("scores", ["probabilities", "class_scores"])
def test_regions_kept(tmp_path, order, scores):
  image, recipe = shuffled()
  if scores == "class_scores":
    recipe["set"]["class_probs"] = None
  manifest, store = made(tmp_path, [recipe], order=order, max_regions=2)
  wanted = [0, 1] if order == "score" else [2, 1]
  (record,) = store.read([0])
  np.testing.assert_array_equal(record["boxes"], image.boxes[wanted])
  np.testing.assert_array_equal(record["features"], image.features[wanted])
  has_order = scores == "probabilities" and order == "score"
  assert (manifest["region_order"] == "descending score") == has_order


@pytest.mark.parametrize(
  ("classes", "rest"),
  [("background", "column 0"), ("uniform", "all"), ("one_hot", "none")],
)
def test_probabilities_out_of_ids(source, tmp_path, classes, rest):
  manifest, store = converted(source, tmp_path, classes=classes)
  assert manifest["num_classes"] == C
  image = make_image("im4", seed=4)
  probs = store.read([4])[0]["class_probs"].astype(np.float64)
  rows = np.arange(len(probs))
  score = image.class_scores if rest != "none" else np.ones(len(probs))
  np.testing.assert_allclose(probs[rows, image.class_ids + 1], score, 1e-3)
  np.testing.assert_allclose(probs.sum(1), 1, atol=5e-3)
  if rest == "column 0":
    np.testing.assert_allclose(probs[:, 0], 1 - score, atol=1e-3)
  if rest == "all":
    np.testing.assert_allclose(probs[:, 0], (1 - score) / (C - 1), rtol=2e-2)


def test_classes_can_be_dropped(source, tmp_path):
  manifest, store = converted(source, tmp_path, classes="none")
  assert manifest["num_classes"] is None
  record = store.read([0])[0]
  assert "class_probs" not in record and "class_ids" not in record


def test_ids_and_scores_are_kept_without_probabilities(tmp_path):
  recipes = [{"id": f"im{i}", "set": {"class_probs": None}} for i in range(3)]
  manifest, store = made(tmp_path, recipes)
  assert manifest["optional"][:2] == ["class_ids", "class_scores"]
  record, image = store.read([1])[0], make_image("im1", seed=1)
  np.testing.assert_array_equal(record["class_ids"], image.class_ids)
  np.testing.assert_array_equal(record["class_scores"], image.class_scores)
  assert manifest["background_class"] is None


def test_features_in_8_bits_say_what_they_cost(source, tmp_path):
  manifest, store = converted(source, tmp_path, features="uint8")
  image = make_image("im2", seed=2)
  got = store.read([2])[0]["features"].astype(np.float32)
  error = np.abs(got - image.features).max()
  assert 0 < error <= image.features.max() / 255
  assert 0 < manifest["quantisation_error"] < 0.01


def test_boxes_without_sizes(tmp_path):
  unit = (make_image("a").boxes / [640, 480, 640, 480]).tolist()
  unknown = {"width": None, "height": None}
  relative = {"boxes": unit, "relative": True, **unknown}
  recipes = [{"id": name, "set": relative} for name in ("a", "b")]
  source = write_seeds(tmp_path / "a.seeds", recipes)
  sizes = tmp_path / "sizes.json"
  sizes.write_text('{"a": [640, 480]}')
  _, b = converted(source, tmp_path, "nominal")[1].read([0, 1])
  sizes.write_text('{"a": [640, 480], "b": [64, 48]}')
  manifest, store = converted(source, tmp_path, sizes=sizes)
  a = store.read([0])[0]
  assert (a["width"], a["height"]) == (640, 480)
  np.testing.assert_allclose(a["boxes"], make_image("a").boxes, rtol=1e-5)
  assert (b["width"], b["height"]) == (1000, 1000)
  np.testing.assert_allclose(b["boxes"], np.array(unit) * 1000, rtol=1e-5)
  assert manifest["conversion"]["images_of_nominal_size"] == 0
  coco = tmp_path / "coco.json"
  side = {"width": 64, "height": 48}
  images = [{"id": 7, "file_name": "x/A.jpg"} | side, {"id": "b"} | side]
  coco.write_text(json.dumps({"images": images}))
  _, store = converted(source, tmp_path, "coco_store", sizes=coco)
  assert store.read([1])[0]["width"] == 64
  sizes.write_text("[1]")
  with pytest.raises(DataError, match='no image sizes: .*wanted {"id"'):
    converted(source, tmp_path, "third", sizes=sizes)


def test_no_boxes_are_the_whole_image(tmp_path):
  recipe = {"id": "a", "set": {"boxes": None}}
  manifest, store = made(tmp_path, [recipe])
  assert (store.read([0])[0]["boxes"] == [0, 0, 640, 480]).all()
  assert manifest["conversion"]["images_without_boxes"] == 1


def test_boxes_are_mended_and_counted(tmp_path):
  boxes = make_image("a").boxes
  boxes[1] = [600, 10, 700, 50]  # leaves the image
  boxes[3] = [50, 50, 50, 90]  # empty
  recipe = {"id": "a", "set": {"boxes": boxes.tolist()}}
  manifest, store = made(tmp_path, [recipe])
  (record,) = store.read([0])
  assert record["num_regions"] == 4
  assert record["boxes"][1].tolist() == [600, 10, 640, 50]
  assert manifest["conversion"]["boxes_clipped"] == 1
  assert manifest["conversion"]["boxes_dropped"] == 1


def test_xywh_boxes_are_recognised(tmp_path):
  recipes = []
  for i in range(30):
    boxes = make_image("", seed=i).boxes
    boxes[:, 2:] -= boxes[:, :2]
    recipes.append({"id": f"im{i}", "set": {"boxes": boxes.tolist()}})
  source = write_seeds(tmp_path / "a.seeds", recipes)
  with refused("this looks like x, y, width, height", "--box_format=xywh"):
    converted(source, tmp_path)
  _, store = converted(source, tmp_path, restart=True, box_format="xywh")
  np.testing.assert_array_equal(
    store.read([7])[0]["boxes"], make_image("im7", seed=7).boxes
  )


def test_equal_repeats_are_joined(tmp_path):
  recipes = [{"id": f"im{i}", "seed": i} for i in range(7)]
  repeat = {"id": "im1", "seed": 1, "set": {"caption": "another caption"}}
  recipes += [repeat, {**repeat, "set": {}}, {"id": "im7", "seed": 7}]
  manifest, store = made(tmp_path, recipes, features="uint8")
  assert store.image_ids == tuple(f"im{i}" for i in range(8))
  assert [shard["records"] for shard in manifest["shards"]] == [4, 3, 1]
  assert manifest["conversion"]["images_repeated"] == 2
  store.verify()
  plain = write_seeds(tmp_path / "b.seeds", [*recipes[:7], recipes[9]])
  other, _ = converted(plain, tmp_path, "plain", features="uint8")
  for key in ("feature_statistics", "regions_per_image"):
    for name, value in other[key].items():
      assert manifest[key][name] == pytest.approx(value, rel=1e-3), name
  line = (tmp_path / "store/captions.jsonl").read_text().splitlines()[1]
  assert json.loads(line)["captions"] == [
    "a picture of number 1 with a dog",
    "another caption",
  ]


def test_unequal_repeats_are_refused_with_both_places(tmp_path):
  recipes = [{"id": f"im{i}"} for i in range(6)]
  recipes[5]["id"] = "im2"
  with refused("a.seeds:6", "a.seeds:3", "'im2'"):
    made(tmp_path, recipes)
  assert not (tmp_path / "store").exists()


def test_images_of_another_kind_are_refused(tmp_path):
  recipes = [{"id": "a"}, {"id": "b", "set": {"class_probs": None}}]
  with pytest.raises(
    DataError, match=":2: .*'b'.*class_probs: missing, though"
  ):
    made(tmp_path, recipes)


def test_classes_may_have_no_background(source, tmp_path):
  reader = FORMAT._replace(background_class=None)
  manifest = convert(source, reader, tmp_path / "store")
  assert manifest["background_class"] is None
  # Made of ids they have one.
  manifest = convert(
    source,
    reader,
    tmp_path / "made",
    settings=ConversionSettings(classes="background"),
  )
  assert manifest["background_class"] == 0


def test_boxes_may_have_scores_of_their_own(tmp_path):
  scores = [0.1, 0.5, 0.3, 0.0, 0.9]
  source = write_seeds(
    tmp_path / "a.seeds", [{"id": "im0", "set": {"box_scores": scores}}]
  )
  manifest, store = converted(source, tmp_path, max_regions=4)
  assert manifest["region_order"] == "descending score"
  assert manifest["optional"][0] == "box_scores"
  (record,) = store.read([0])
  np.testing.assert_array_equal(
    record["box_scores"], np.array([0.9, 0.5, 0.3, 0.1], np.float32)
  )
  np.testing.assert_array_equal(
    record["boxes"], make_image("im0").boxes[[4, 1, 2, 0]]
  )
