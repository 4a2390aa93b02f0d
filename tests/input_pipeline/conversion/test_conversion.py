"""Conversion: whole stores, whatever happens on the way.

What records hold is in test_converted_records.py.
"""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from input_pipeline.conversion import run
from input_pipeline.conversion.plan import make_plan
from input_pipeline.conversion.runners import beam_runner
from input_pipeline.conversion.settings import ConversionSettings
from input_pipeline.formats.base import ImageRegions
from input_pipeline.store.region_store import RegionStore
from interbert_jax.contract.errors import ConfigError, DataError
from tests.conftest import ROOT
from tests.support.corpus import E, make_image
from tests.support.scripts import wait_for
from tests.support.seed_format import FORMAT, converted, write_seeds


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
