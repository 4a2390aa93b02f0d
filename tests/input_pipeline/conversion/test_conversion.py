"""Conversion: whole stores, whatever happens on the way.

What records hold is in test_converted_records.py.
"""

import json
import os
import pathlib
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest

from input_pipeline.conversion import part as parts
from input_pipeline.conversion import plan as plan_lib
from input_pipeline.conversion import run
from input_pipeline.conversion.plan import make_plan
from input_pipeline.conversion.run import convert
from input_pipeline.conversion.runners import beam_runner
from input_pipeline.conversion.settings import ConversionSettings
from input_pipeline.formats.base import ImageRegions
from input_pipeline.formats.registry import find_format
from input_pipeline.store.region_store import RegionStore
from interbert_jax.contract.errors import ConfigError, DataError
from tests.conftest import ROOT
from tests.support.corpus import E, make_image
from tests.support.format_writers import butd_tsv_6
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


def interrupt(source, tmp_path, *, moment="_finish", format=FORMAT):
  """A conversion that is killed as it comes to this function of run.py."""
  with (
    mock.patch.object(run, moment, side_effect=KeyboardInterrupt),
    pytest.raises(KeyboardInterrupt),
  ):
    convert(source, format, tmp_path / "store")
  assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("moment", ["finish_store", "publish"])
def test_interruption_at_the_end(source, tmp_path, moment):
  interrupt(source, tmp_path, moment=moment)
  converted(source, tmp_path)[1].verify()


def test_a_half_written_part_is_done_again(source, tmp_path):
  interrupt(source, tmp_path)
  part = tmp_path / ".store.unfinished-convert/part-00001"
  part.write_bytes(part.read_bytes()[:100])
  converted(source, tmp_path)[1].verify()


def test_another_conversion_is_not_mixed_in(source, tmp_path):
  interrupt(source, tmp_path)
  with pytest.raises(DataError, match="with another options .*--restart"):
    converted(source, tmp_path, order="stored")
  _, store = converted(source, tmp_path, order="stored", restart=True)
  assert store.manifest["region_order"] == "as stored"


def test_parts_of_a_changed_file_are_done_again(source, tmp_path):
  interrupt(source, tmp_path)
  write_seeds(source, [f"new{i}" for i in range(9)])
  _, store = converted(source, tmp_path)
  assert store.image_ids == tuple(f"new{i}" for i in range(9))


def test_a_corrected_piece_alone_is_done_again(tmp_path, capsys):
  """Of four pieces one is cut; ids beside a file count as well."""
  corpus = [make_image(f"im{i}", seed=i) for i in range(8)]
  folder = tmp_path / "pieces"
  folder.mkdir()
  for piece in range(4):
    butd_tsv_6(corpus[2 * piece : 2 * piece + 2], tmp_path)
    (tmp_path / "trainval.tsv").rename(folder / f"a.tsv.{piece}")
  broken = folder / "a.tsv.2"
  whole = broken.read_bytes()
  broken.write_bytes(whole[:-200])
  reader, _ = find_format(folder)
  with pytest.raises(DataError, match="tsv.2"):
    convert(folder, reader, tmp_path / "store")
  broken.write_bytes(whole)
  capsys.readouterr()
  with mock.patch.object(
    parts, "convert_part", wraps=parts.convert_part
  ) as spy:
    convert(folder, reader, tmp_path / "store")
  assert sorted(call.args[1] for call in spy.call_args_list) == [2, 3]
  assert "2 of 4 parts are kept" in capsys.readouterr().err
  assert len(RegionStore(tmp_path / "store")) == 8


def test_changed_ids_beside_a_file_are_read_again(tmp_path):
  np.save(tmp_path / "a_ims.npy", np.random.rand(3, 2, 4).astype("f4"))
  ids = tmp_path / "a_ids.txt"
  ids.write_text("x\ny\nx\n")
  reader, _ = find_format(tmp_path / "a_ims.npy")
  with pytest.raises(DataError, match="other regions .*--on_repeated=first"):
    convert(tmp_path / "a_ims.npy", reader, tmp_path / "store")
  ids.write_text("x\ny\nz\n")
  convert(tmp_path / "a_ims.npy", reader, tmp_path / "store")
  assert RegionStore(tmp_path / "store").image_ids == ("x", "y", "z")


def test_the_first_of_a_repeated_id_is_kept_if_asked(tmp_path):
  recipes = [{"id": "a", "seed": 0}, {"id": "b", "seed": 1}]
  source = write_seeds(tmp_path / "a.seeds", [*recipes, {"id": "a", "seed": 2}])
  with pytest.raises(DataError, match="--on_repeated=first keeps the first"):
    converted(source, tmp_path)
  manifest, store = converted(source, tmp_path, on_repeated="first")
  assert store.image_ids == ("a", "b")
  assert manifest["conversion"]["images_repeated"] == 1
  wanted = make_image("a", seed=0).boxes
  np.testing.assert_array_equal(store.read([0])[0]["boxes"], wanted)


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


def test_provenance_is_in_the_manifest_and_must_not_change(source, tmp_path):
  def reader(**provenance):
    return FORMAT._replace(provenance=provenance)

  interrupt(source, tmp_path, format=reader(crop_size=96, by="a"))
  with pytest.raises(DataError, match=r"another crop_size \(96, now 64\)"):
    convert(source, reader(crop_size=64, by="a"), tmp_path / "store")
  manifest = convert(source, reader(crop_size=96, by="a"), tmp_path / "store")
  assert manifest["provenance"] == {"crop_size": 96, "by": "a"}


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


def test_records_that_were_skipped_are_not_kept_for_a_run_that_refuses(
  tmp_path,
):
  """From error to skip, parts are the same; the other way they are not."""
  bad = {"id": "bad", "set": {"boxes": [[9, 9, 1, 1]] * 5}}
  recipes = [{"id": f"im{i}"} for i in range(5)] + [bad]
  source = write_seeds(tmp_path / "a.seeds", recipes)
  with pytest.raises(DataError, match="bad"):
    converted(source, tmp_path)
  with (
    mock.patch.object(run, "_finish", side_effect=KeyboardInterrupt),
    pytest.raises(KeyboardInterrupt),
  ):
    converted(source, tmp_path, on_bad_record="skip")
  with pytest.raises(DataError, match="with another options"):
    converted(source, tmp_path)
  _, store = converted(source, tmp_path, on_bad_record="skip")
  assert len(store) == 5
