"""From a folder of images to a region store."""

import json
import struct
import zlib

import numpy as np
import pytest

from input_pipeline.conversion import run as conversion_run
from input_pipeline.store.region_store import RegionStore
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.json_file import read_rows
from tests.support.fake_extractor import extracted, save_picture, write_captions
from tests.support.refusals import refused
from tools.extract import __main__ as command
from tools.extract import fetch, photos
from tools.extract.captions import match_captions
from tools.extract.models import find_weights
from tools.extract.settings import RegionSettings
from tools.packages import PackageError


def test_folder_to_store(folder, tmp_path):
  ids = ["im03", "below/a", "below/deep/b"]
  source = write_captions(tmp_path / "c.jsonl", ids, split="val")
  text = extracted(folder, tmp_path / "out", captions=source)
  store = RegionStore(tmp_path / "out/regions")
  store.verify()
  assert store.image_ids == (
    "below/a",
    "below/deep/b",
    *(f"im{i:02d}" for i in range(18)),
  )
  record = next(iter(store.read([store.image_ids.index("im07")])))
  assert (record["width"], record["height"]) == (64, 48)
  # Best first, whatever the order in which they were found.
  assert record["boxes"].tolist() == [
    [0, 0, 64, 48],
    [0, 0, 32, 48],
    [32, 0, 64, 48],
  ]
  assert record["box_scores"].tolist() == [np.float32(0.9), 0.5, 0.25]
  assert record["features"].shape == (3, 2048)
  assert record["features"][0, :3].tolist() == [70, 20, 30]
  assert record["class_probs"].shape == (3, 10)
  manifest = store.manifest
  assert manifest["background_class"] is None
  assert manifest["region_order"] == "descending score"
  assert manifest["extractor"] == "mean colours"
  assert manifest["source_format"] == "images"
  assert manifest["provenance"]["crop_size"] == 96
  assert manifest["provenance"]["detector_sha256"] == "12ab"
  assert [shard["records"] for shard in manifest["shards"]] == [8, 8, 4]
  assert read_rows(tmp_path / "out/captions.jsonl") == read_rows(source)
  assert "3 val images" in text and "17 of 20 images have no captions" in text
  assert "python -m input_pipeline.check" in text and "main.py" in text
  notice = (tmp_path / "out/ATTRIBUTION.txt").read_text()
  assert "detector: halves" in notice
  assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
    "ATTRIBUTION.txt",
    "captions.jsonl",
    "regions",
  ]


def manifests(root, *names):
  return [RegionStore(root / name / "regions").manifest for name in names]


def test_workers_and_batches_change_nothing(folder, tmp_path):
  extracted(folder, tmp_path / "one")
  settings = RegionSettings(min_regions=1, batch_size=3)
  extracted(folder, tmp_path / "two", workers=2, settings=settings)
  one, two = manifests(tmp_path, "one", "two")
  assert one == two  # checksums of the shards included


def test_a_pipeline_makes_the_same(folder, tmp_path):
  pytest.importorskip("apache_beam")
  extracted(folder, tmp_path / "one")
  extracted(folder, tmp_path / "two", beam="--runner=DirectRunner")
  one, two = manifests(tmp_path, "one", "two")
  assert one == two


def test_an_interrupted_run_goes_on(folder, tmp_path):
  extracted(folder, tmp_path / "whole")
  kill = folder / "im10.png.kill"
  kill.touch()
  with pytest.raises(KeyboardInterrupt):
    extracted(folder, tmp_path / "out")
  kill.unlink()
  building = tmp_path / "out/.regions.unfinished-convert"
  done = sorted(building.glob("part-*.json"))
  assert [p.name for p in done] == ["part-00000.json"]
  before = done[0].stat().st_mtime_ns

  # Other settings must not be mixed in, nor other images.
  with pytest.raises(DataError, match=r"another crop_size \(96, now 64\)"):
    extracted(
      folder,
      tmp_path / "out",
      settings=RegionSettings(min_regions=1, crop_size=64),
    )
  extra = save_picture(folder / "im99.png")
  with pytest.raises(DataError, match="another files, parts, provenance"):
    extracted(folder, tmp_path / "out")
  extra.unlink()
  assert done[0].stat().st_mtime_ns == before

  extracted(folder, tmp_path / "out")
  whole, again = manifests(tmp_path, "whole", "out")
  assert again == whole
  assert not building.exists()


def test_the_part_of_a_changed_image_is_done_again(
  folder, tmp_path, monkeypatch, capsys
):
  with monkeypatch.context() as patch:
    patch.setattr(conversion_run, "_finish", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
      extracted(folder, tmp_path / "out")
  (folder / "notes.txt").write_text("other files may change")
  save_picture(folder / "im07.png", (9, 9, 9))
  extracted(folder, tmp_path / "out")
  assert "2 of 3 parts are kept" in capsys.readouterr().err
  store = RegionStore(tmp_path / "out/regions")
  record = store.read([store.image_ids.index("im07")])[0]
  assert record["features"][0, :3].tolist() == [9, 9, 9]


def test_what_is_done_is_not_done_again(folder, tmp_path, monkeypatch):
  extracted(folder, tmp_path / "out")
  monkeypatch.setattr(
    conversion_run, "processes", lambda workers: pytest.fail("ran again")
  )
  source = write_captions(tmp_path / "c.jsonl", ["im01"])
  for _ in range(2):  # captions may come later, and may be there
    text = extracted(folder, tmp_path / "out", captions=source)
    assert "is ready" in text and "1 train images" in text
  other = write_captions(tmp_path / "d.jsonl", ["im02"])
  with pytest.raises(DataError, match="captions.jsonl: exists already"):
    extracted(folder, tmp_path / "out", captions=other)
  for options, words in (
    ({"settings": RegionSettings(min_regions=1, max_side=640)}, "max_side"),
    ({"features": "int8"}, "features"),
  ):
    with pytest.raises(DataError, match=f"exists already, with.*{words}"):
      extracted(folder, tmp_path / "out", **options)
  (tmp_path / "other/regions").mkdir(parents=True)
  with pytest.raises(DataError, match="was not extracted"):
    extracted(folder, tmp_path / "other")


def test_features_in_8_bits(folder, tmp_path):
  extracted(folder, tmp_path / "out", features="int8")
  manifest = RegionStore(tmp_path / "out/regions").manifest
  assert manifest["feature_encoding"] == "int8"


# Images that are none.


def _png_of(width, height):
  """A file of a few bytes that claims a size."""

  def chunk(kind, data):
    body = kind + data
    return (
      struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))
    )

  header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
  return (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", header)
    + chunk(b"IDAT", zlib.compress(b"\0" * 100))
    + chunk(b"IEND", b"")
  )


BROKEN = {
  "empty": (b"", "no image that Pillow knows, 0 bytes"),
  "text": (b"<html>404</html>", "no image that Pillow knows, 16 bytes"),
  "large": (_png_of(11_000, 10_000), "11000 x 10000 pixels, wanted at most"),
  "bomb": (_png_of(60_000, 60_000), "pixels, wanted at most 100,000,000"),
  "short": (_png_of(500, 500), "cannot be decoded"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_image_is_named(folder, tmp_path, kind):
  content, words = BROKEN[kind]
  path = folder / "im05.png"
  path.write_bytes(content)
  with refused(f"{path}: ", words, "--on_bad_record=skip"):
    extracted(folder, tmp_path / "out")


def test_broken_images_may_be_left_out(folder, tmp_path):
  for number, (content, _) in enumerate(BROKEN.values()):
    (folder / f"im{number:02d}.png").write_bytes(content)
  whole = save_picture(tmp_path / "whole.jpg", size=(300, 300), quality=95)
  (folder / "im07.jpg").write_bytes(whole.read_bytes()[:700])
  (folder / "im07.png").unlink()
  source = write_captions(tmp_path / "c.jsonl", ["im00", "im10"])
  text = extracted(
    folder, tmp_path / "out", captions=source, on_bad_record="skip"
  )
  store = RegionStore(tmp_path / "out/regions")
  assert len(store) == 14 and "im07" not in store.image_ids
  skipped = (tmp_path / "out/regions/skipped.txt").read_text().splitlines()
  assert len(skipped) == 6 and "im07.jpg" in skipped[-1]
  assert store.manifest["conversion"]["images_skipped"] == 6
  assert "6 images were left out" in text
  (line,) = read_rows(tmp_path / "out/captions.jsonl")
  assert line["image_id"] == "im10"
  # The regions of the others are their own.
  record = next(iter(store.read([store.image_ids.index("im10")])))
  assert record["features"][0, :3].tolist() == [100, 20, 30]


def test_nothing_but_broken_images(tmp_path):
  (tmp_path / "photos").mkdir()
  (tmp_path / "photos/a.png").write_bytes(b"x")
  with pytest.raises(DataError, match="found no records"):
    extracted(tmp_path / "photos", tmp_path / "out", on_bad_record="skip")


def test_an_image_that_comes_meanwhile(folder, tmp_path, monkeypatch):
  reader = conversion_run.parts.images

  def images(plan, part, facts):
    save_picture(folder / "im00a.png")
    photos.list_photos.cache_clear()  # another process has its own list
    return reader(plan, part, facts)

  monkeypatch.setattr(conversion_run.parts, "images", images)
  with pytest.raises(DataError, match="added or removed"):
    extracted(folder, tmp_path / "out")


# Captions.


def test_captions_without_image(tmp_path):
  source = write_captions(tmp_path / "c.jsonl", ["a", "lost"])
  with pytest.raises(DataError, match="1 of 2 images are not in .*lost"):
    match_captions(source, ["a", "b"])
  lines, notes = match_captions(source, ["a", "b"], on_missing="skip")
  assert [json.loads(line)["image_id"] for line in lines] == ["a"]
  assert any("lost" in note for note in notes)
  assert "1 of 2 images have no captions" in notes
  with pytest.raises(DataError, match="none of its 2 images"):
    match_captions(source, ["q"], on_missing="skip")


def test_captions_are_checked_before_the_work(folder, tmp_path):
  source = write_captions(tmp_path / "c.jsonl", ["im01", "lost"])
  with pytest.raises(DataError, match="lost"):
    extracted(folder, tmp_path / "out", captions=source)
  assert not (tmp_path / "out").exists()


def test_captions_of_other_formats(tmp_path):
  content = {
    "images": [
      {
        "filename": f"COCO_val2014_{n:012d}.jpg",
        "split": split,
        "sentences": [{"raw": f"picture {n}"}],
      }
      for n, split in ((5, "train"), (7, "val"), (9, "test"))
    ]
  }
  path = tmp_path / "dataset_coco.json"
  path.write_text(json.dumps(content))
  lines, notes = match_captions(
    path, ["000000000005", "000000000007"], on_missing="skip"
  )
  assert [json.loads(line) for line in lines] == [
    {"image_id": f"{n:012d}", "split": split, "captions": [f"picture {n}"]}
    for n, split in ((5, "train"), (7, "val"))
  ]
  assert "none of its 1 images" in notes[-1]


# The command.


@pytest.mark.parametrize(
  "flags, words",
  [
    ((), "--images"),
    (("--workers=0",), "--workers is 0; wanted"),
    (("--max_regions=0",), "--max_regions is 0; wanted"),
    (("--min_regions=40",), "--min_regions is 40; wanted 1 to max_regions"),
    (("--crop_size=8",), "--crop_size is 8; wanted"),
    (("--detector=torchvision",), "--weights"),
    (("--weights=a.pth",), "--detector=torchvision"),
    (("--detector=yolo",), "--detector"),
  ],
)
def test_wrong_flags(flags, words, capsys):
  if flags:
    flags = ("--images=a", "--output=b", *flags)
  with pytest.raises(SystemExit):
    command.parse_arguments(list(flags))
  assert words in capsys.readouterr().err


def test_min_regions_follow_max_regions():
  flags = ["--images=a", "--output=b", "--max_regions=10"]
  _, settings = command.parse_arguments(flags)
  assert settings.fewest_regions == 10


def test_missing_weights_name_the_command(
  tmp_path, monkeypatch, folder, capsys
):
  monkeypatch.setenv("INTERBERT_CACHE", str(tmp_path / "cache"))
  for name in (
    "XLA_FLAGS",
    "NPROC",
    "OMP_NUM_THREADS",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_NUM_INTRAOP_THREADS",
  ):
    monkeypatch.setenv(name, "1")  # set back after the test
  with pytest.raises(PackageError, match="python -m tools.extract.fetch"):
    find_weights()
  status = command.main([f"--images={folder}", f"--output={tmp_path / 'out'}"])
  message = capsys.readouterr().err
  assert status == 2
  for words in ("CenterNet", "EfficientNet", "python -m tools.extract.fetch"):
    assert words in message
  assert not (tmp_path / "out").exists()
  (tmp_path / "packages").mkdir()
  assert fetch.main([f"--packages={tmp_path / 'packages'}"]) == 2
  assert "no file vladmandic-human-3.3.6.tgz" in capsys.readouterr().err
