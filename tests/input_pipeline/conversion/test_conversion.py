"""Conversion: whole stores, whatever happens on the way."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from input_pipeline.conversion import plan as plan_lib
from input_pipeline.conversion import run
from input_pipeline.conversion.plan import make_plan
from input_pipeline.conversion.run import convert
from input_pipeline.conversion.runners import beam_runner
from input_pipeline.conversion.settings import ConversionSettings
from input_pipeline.formats.base import ImageRegions
from input_pipeline.store.region_store import RegionStore
from interbert_jax.contract.errors import ConfigError, DataError
from tests.conftest import ROOT
from tests.support.corpus import C, E, make_image
from tests.support.scripts import wait_for
from tests.support.seed_format import FORMAT, write_seeds


@pytest.fixture
def source(tmp_path):
  return write_seeds(tmp_path / "a.seeds", [f"im{i}" for i in range(10)])


def converted(source, tmp_path, name="store", **options):
  keywords = {
    key: options.pop(key)
    for key in ("workers", "sizes", "restart", "runner", "extractor")
    if key in options
  }
  manifest = convert(
    source,
    FORMAT,
    tmp_path / name,
    settings=ConversionSettings(**options),
    **keywords,
  )
  return manifest, RegionStore(tmp_path / name)


def made(tmp_path, recipes, **options):
  """(manifest, store) of these recipes; they lie in a.seeds."""
  return converted(
    write_seeds(tmp_path / "a.seeds", recipes), tmp_path, **options
  )


def test_records_are_the_images(source, tmp_path):
  manifest, store = converted(source, tmp_path)
  assert [shard["records"] for shard in manifest["shards"]] == [4, 4, 2]
  assert store.image_ids == tuple(f"im{i}" for i in range(10))
  for seed, record in enumerate(store.read(range(10))):
    image = make_image(f"im{seed}", seed=seed)
    assert (record["width"], record["height"]) == (640, 480)
    for field in ("features", "boxes", "attribute_ids", "attribute_scores"):
      np.testing.assert_array_equal(record[field], getattr(image, field))
    np.testing.assert_allclose(
      record["class_probs"], image.class_probs, atol=1e-3
    )
  assert manifest["source_format"] == "seeds"
  assert manifest["extractor"] == "random numbers"
  assert manifest["background_class"] == 0
  assert manifest["region_order"] == "descending score"
  store.verify()
  lines = (tmp_path / "store/captions.jsonl").read_text().splitlines()
  assert json.loads(lines[3]) == {
    "image_id": "im3",
    "split": "train",
    "captions": ["a picture of number 3 with a dog"],
  }
  assert sorted(p.name for p in tmp_path.iterdir()) == ["a.seeds", "store"]


@pytest.mark.parametrize("way", ["workers", "beam"])
def test_every_way_gives_the_same_store(source, tmp_path, way):
  one, _ = converted(source, tmp_path)
  if way == "beam":
    pytest.importorskip("apache_beam")
    other, _ = converted(
      source, tmp_path, "other", runner=beam_runner("--runner=DirectRunner")
    )
  else:
    other, _ = converted(source, tmp_path, "other", workers=2)
  assert other == one  # checksums of every shard included


def test_an_interrupted_conversion_goes_on(tmp_path, monkeypatch):
  stop = tmp_path / "stop"
  recipes = [{"id": f"im{i}"} for i in range(12)]
  recipes[9]["kill"] = str(stop)
  source = write_seeds(tmp_path / "a.seeds", recipes)
  whole, _ = converted(source, tmp_path, "whole")
  stop.touch()
  with pytest.raises(KeyboardInterrupt):
    converted(source, tmp_path)
  assert not (tmp_path / "store").exists()
  building = tmp_path / ".store.unfinished-convert"
  done = {p.name: p.stat().st_mtime_ns for p in building.glob("part-*")}
  assert set(done) == {
    f"part-0000{i}{end}" for i in (0, 1) for end in ("", ".json")
  }
  with pytest.raises(DataError, match="wanted a finished region store"):
    RegionStore(building)
  stop.unlink()
  converted_parts = []
  convert_part = run.parts.convert_part
  monkeypatch.setattr(
    run.parts,
    "convert_part",
    lambda plan, i: converted_parts.append(i) or convert_part(plan, i),
  )
  resumed, _ = converted(source, tmp_path)
  assert converted_parts == [2]
  assert resumed == whole
  assert not building.exists()


KILLED = """
import sys
from input_pipeline.conversion.run import convert
from tests.support.seed_format import FORMAT
if __name__ == "__main__":
  convert(sys.argv[1], FORMAT, sys.argv[2], workers=2)
"""


def test_workers_do_not_outlive_a_killed_parent(tmp_path):
  """They would write into the parts of the run that goes on."""
  recipes = [{"id": f"im{i}", "sleep": 3600} for i in range(1, 9)]
  source = write_seeds(tmp_path / "a.seeds", [{"id": "im0"}, *recipes])
  script = tmp_path / "killed.py"
  script.write_text(KILLED)
  process = subprocess.Popen(
    [sys.executable, script, source, tmp_path / "store"],
    env={**os.environ, "PYTHONPATH": str(ROOT)},
    stderr=subprocess.DEVNULL,
  )
  building = tmp_path / ".store.unfinished-convert"

  wait_for(lambda: len(list(building.glob("*.writing"))) == 2)
  path = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
  workers = path.read_text().split()
  assert len(workers) >= 2
  process.kill()
  process.wait()
  wait_for(
    lambda: not any(pathlib.Path(f"/proc/{w}").exists() for w in workers)
  )


@pytest.mark.parametrize("moment", ["finish_store", "publish"])
def test_interruption_at_the_end(source, tmp_path, monkeypatch, moment):
  with monkeypatch.context() as patch:

    def killed(*_, **__):
      raise KeyboardInterrupt

    patch.setattr(run, moment, killed)
    with pytest.raises(KeyboardInterrupt):
      converted(source, tmp_path)
  assert not (tmp_path / "store").exists()
  converted(source, tmp_path)[1].verify()


def test_a_half_written_part_is_done_again(source, tmp_path, monkeypatch):
  def killed(*_, **__):
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(run, "_finish", killed)
    with pytest.raises(KeyboardInterrupt):
      converted(source, tmp_path)
  part = tmp_path / ".store.unfinished-convert/part-00001"
  part.write_bytes(part.read_bytes()[:100])
  converted(source, tmp_path)[1].verify()


def test_another_conversion_is_not_mixed_in(source, tmp_path, monkeypatch):
  with monkeypatch.context() as patch:
    patch.setattr(run, "_finish", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
      converted(source, tmp_path)
  with pytest.raises(DataError, match="with another options .*--restart"):
    converted(source, tmp_path, order="stored")
  write_seeds(source, [f"im{i}" for i in range(9)])
  with pytest.raises(DataError, match="with another files, parts"):
    converted(source, tmp_path)
  _, store = converted(source, tmp_path, restart=True)
  assert len(store) == 9


def test_a_place_in_use_is_refused(source, tmp_path):
  building = tmp_path / ".store.unfinished-convert"
  building.mkdir()
  with (
    run._locked(building),
    pytest.raises(DataError, match="another conversion is writing here"),
  ):
    converted(source, tmp_path)


def test_an_existing_output_is_refused(source, tmp_path):
  (tmp_path / "store").mkdir()
  with pytest.raises(DataError, match="exists already"):
    converted(source, tmp_path)


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


def test_overflow_of_float16_is_refused(tmp_path):
  recipe = {"id": "im0", "set": {"features": np.full((5, E), 7e4).tolist()}}
  with pytest.raises(DataError, match="magnitude 70000, float16 ends at"):
    made(tmp_path, [recipe])


def test_boxes_without_sizes(tmp_path):
  unit = (make_image("a").boxes / [640, 480, 640, 480]).tolist()
  unknown = {"width": None, "height": None}
  relative = {"boxes": unit, "relative": True, **unknown}
  recipes = [{"id": name, "set": relative} for name in ("a", "b")]
  source = write_seeds(tmp_path / "a.seeds", recipes)
  sizes = tmp_path / "sizes.json"
  sizes.write_text('{"a": [640, 480]}')
  manifest, store = converted(source, tmp_path, sizes=sizes)
  a, b = store.read([0, 1])
  assert (a["width"], a["height"]) == (640, 480)
  np.testing.assert_allclose(a["boxes"], make_image("a").boxes, rtol=1e-5)
  assert (b["width"], b["height"]) == (1000, 1000)
  np.testing.assert_allclose(b["boxes"], np.array(unit) * 1000, rtol=1e-5)
  assert manifest["conversion"]["images_of_nominal_size"] == 1
  coco = tmp_path / "coco.json"
  coco.write_text('{"images": [{"id": "b", "width": 64, "height": 48}]}')
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
    boxes = make_image(f"im{i}", seed=i).boxes
    boxes[:, 2:] -= boxes[:, :2]
    recipes.append(
      {"id": f"im{i}", "seed": i, "set": {"boxes": boxes.tolist()}}
    )
  source = write_seeds(tmp_path / "a.seeds", recipes)
  with pytest.raises(DataError) as e:
    converted(source, tmp_path)
  assert "this looks like x, y, width, height" in str(e.value)
  assert "--box_format=xywh" in str(e.value)
  _, store = converted(source, tmp_path, restart=True, box_format="xywh")
  np.testing.assert_array_equal(
    store.read([7])[0]["boxes"], make_image("im7", seed=7).boxes
  )


def test_bad_records_stop_or_are_skipped(tmp_path):
  recipes = [{"id": f"im{i}"} for i in range(6)]
  recipes[2]["bad"] = True
  nan = make_image("im4", seed=4).features
  nan[1, 1] = np.nan
  recipes[4]["set"] = {"features": nan.tolist()}
  source = write_seeds(tmp_path / "a.seeds", recipes)
  with pytest.raises(DataError, match=r"a.seeds:3: not readable"):
    converted(source, tmp_path)
  manifest, store = converted(
    source, tmp_path, restart=True, on_bad_record="skip"
  )
  assert store.image_ids == ("im0", "im1", "im3", "im5")
  assert manifest["conversion"]["images_skipped"] == 2
  skipped = (tmp_path / "store/skipped.txt").read_text().splitlines()
  assert "a.seeds:3: not readable" in skipped[0]
  assert "'im4'), field features: found NaN" in skipped[1]


def test_parts_of_nothing_but_bad_records(tmp_path):
  recipes = [{"id": f"im{i}", "bad": i < 4} for i in range(6)]
  source = write_seeds(tmp_path / "a.seeds", recipes)
  manifest, _ = converted(source, tmp_path, on_bad_record="skip")
  assert [shard["records"] for shard in manifest["shards"]] == [2]
  write_seeds(source, recipes[:4])
  with pytest.raises(DataError, match="found no images, wanted a line of JSON"):
    converted(source, tmp_path, "none", on_bad_record="skip")


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
  with pytest.raises(DataError) as e:
    made(tmp_path, recipes)
  assert "a.seeds:6" in str(e.value) and "a.seeds:3" in str(e.value)
  assert "'im2'" in str(e.value)
  assert not (tmp_path / "store").exists()


def test_images_of_another_kind_are_refused(tmp_path):
  recipes = [{"id": "a"}, {"id": "b", "set": {"class_probs": None}}]
  with pytest.raises(
    DataError, match=":2: .*'b'.*class_probs: missing, though"
  ):
    made(tmp_path, recipes)


@pytest.mark.parametrize(
  ("option", "value"),
  [
    ("order", "size"),
    ("features", "int4"),
    ("classes", "all"),
    ("box_format", "yxyx"),
    ("on_bad_record", "ignore"),
    ("compression", "gzip"),
    ("max_regions", 0),
  ],
)
def test_unknown_options_are_refused(option, value):
  with pytest.raises(ConfigError, match=f"{option} is {value!r}; wanted"):
    ConversionSettings(**{option: value})


# What a reader may say beyond its images.


def test_provenance_is_in_the_manifest_and_must_not_change(
  source, tmp_path, monkeypatch
):
  def reader(**provenance):
    return FORMAT._replace(provenance=provenance)

  with monkeypatch.context() as patch:
    patch.setattr(run, "_finish", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
      convert(source, reader(crop_size=96, by="a"), tmp_path / "store")
  with pytest.raises(DataError, match=r"another crop_size \(96, now 64\)"):
    convert(source, reader(crop_size=64, by="a"), tmp_path / "store")
  manifest = convert(source, reader(crop_size=96, by="a"), tmp_path / "store")
  assert manifest["provenance"] == {"crop_size": 96, "by": "a"}


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


def test_nothing_is_read_to_plan_where_an_example_is_given(source, tmp_path):
  image = make_image("example")
  example = ImageRegions(
    "",
    "",
    np.zeros((0, E)),
    None,
    None,
    None,
    **{
      field: getattr(image, field)[:0]
      for field in ("class_probs", "attribute_ids", "attribute_scores")
    },
  )

  def read(part):
    raise AssertionError("read")

  options = {"settings": ConversionSettings(), "building": tmp_path}
  plan = make_plan(
    source, FORMAT._replace(read=read, example=example), **options
  )
  assert plan.layout == make_plan(source, FORMAT, **options).layout


def test_a_changed_file_of_a_directory_is_noticed(tmp_path):
  folder = tmp_path / "folder"
  (folder / "below").mkdir(parents=True)
  (folder / "below/a.npz").write_bytes(b"one")
  (folder / "below/again").symlink_to(folder)
  (folder / "dangling").symlink_to(tmp_path / "absent")
  stamp = plan_lib._stamp(str(folder))
  assert stamp[0] == 2
  (folder / ".hidden").write_bytes(b"x")
  assert plan_lib._stamp(str(folder)) == stamp
  (folder / "below/a.npz").write_bytes(b"three")
  changed = plan_lib._stamp(str(folder))
  assert changed != stamp and changed[0] == 2
  (folder / "below/b.npz").touch()
  assert plan_lib._stamp(str(folder))[0] == 3
