"""From a folder of images to a region store."""

import json
import pathlib
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from input_pipeline.conversion import run as conversion_run
from input_pipeline.store.region_store import RegionStore
from interbert_jax.contract.errors import DataError
from tests.support import fake_extractor
from tools.extract import __main__ as command
from tools.extract import fetch, photos
from tools.extract.captions import match_captions
from tools.extract.models import (
  describe_models,
  find_weights,
  load_centernet,
  load_extractor,
)
from tools.extract.photos import list_photos, open_photo
from tools.extract.regions import cut_crops
from tools.extract.run import extract
from tools.extract.settings import Options, RegionSettings
from tools.packages import PackageError

ONE = RegionSettings(min_regions=1)


def save(path, color=(200, 100, 50), size=(64, 48), **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.new("RGB", size, color).save(path, **options)
  return path


@pytest.fixture
def folder(tmp_path):
  """20 images, two of them below; three parts of at most eight."""
  for i in range(18):
    save(tmp_path / f"photos/im{i:02d}.png", (10 * i, 20, 30))
  save(tmp_path / "photos/below/a.JPG", (1, 2, 3), quality=95)
  save(tmp_path / "photos/below/deep/b.webp", (250, 250, 250))
  (tmp_path / "photos/notes.txt").write_text("no image")
  save(tmp_path / "photos/.thumbs/im00.png")
  return tmp_path / "photos"


def extracted(folder, output, *, settings=ONE, workers=1, **options):
  return extract(
    Options(images=folder, output=output, workers=workers, **options),
    settings,
    describe=fake_extractor.describe,
    load=fake_extractor.load,
  )


def write_captions(path, ids, split="train"):
  lines = [
    {"image_id": i, "split": split, "captions": [f"one of {i}", f"two of {i}"]}
    for i in ids
  ]
  path.write_text("".join(json.dumps(line) + "\n" for line in lines))
  return path


def read_lines(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


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
  assert read_lines(tmp_path / "out/captions.jsonl") == read_lines(source)
  assert "3 val images" in text and "17 of 20 images have no captions" in text
  assert "python -m input_pipeline.check" in text and "main.py" in text
  notice = (tmp_path / "out/ATTRIBUTION.txt").read_text()
  assert "detector: halves" in notice
  assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
    "ATTRIBUTION.txt",
    "captions.jsonl",
    "regions",
  ]


def test_workers_and_batches_change_nothing(folder, tmp_path):
  extracted(folder, tmp_path / "one")
  settings = RegionSettings(min_regions=1, batch_size=3)
  extracted(folder, tmp_path / "two", workers=2, settings=settings)
  one, two = (
    json.loads((tmp_path / name / "regions/manifest.json").read_text())
    for name in ("one", "two")
  )
  assert one == two  # checksums of the shards included


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
  extra = save(folder / "im99.png")
  with pytest.raises(DataError, match="another files, parts, provenance"):
    extracted(folder, tmp_path / "out")
  extra.unlink()
  assert done[0].stat().st_mtime_ns == before

  extracted(folder, tmp_path / "out")
  whole, again = (
    json.loads((tmp_path / name / "regions/manifest.json").read_text())
    for name in ("whole", "out")
  )
  assert again == whole
  assert not building.exists()


def test_an_image_that_changes_is_noticed(folder, tmp_path, monkeypatch):
  with monkeypatch.context() as patch:
    patch.setattr(conversion_run, "_finish", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
      extracted(folder, tmp_path / "out")
  (folder / "notes.txt").write_text("other files may change")
  save(folder / "im03.png", (9, 9, 9))
  with pytest.raises(DataError, match="with another files .*--restart"):
    extracted(folder, tmp_path / "out")
  extracted(folder, tmp_path / "out", restart=True)


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
  with pytest.raises(DataError) as caught:
    extracted(folder, tmp_path / "out")
  assert str(caught.value).startswith(f"{path}: ")
  assert words in str(caught.value)
  assert "--on_bad_record=skip" in str(caught.value)


def test_broken_images_may_be_left_out(folder, tmp_path):
  for number, (content, _) in enumerate(BROKEN.values()):
    (folder / f"im{number:02d}.png").write_bytes(content)
  whole = save(tmp_path / "whole.jpg", size=(300, 300), quality=95)
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
  (line,) = read_lines(tmp_path / "out/captions.jsonl")
  assert line["image_id"] == "im10"
  # The regions of the others are their own.
  record = next(iter(store.read([store.image_ids.index("im10")])))
  assert record["features"][0, :3].tolist() == [100, 20, 30]


def test_nothing_but_broken_images(tmp_path):
  (tmp_path / "photos").mkdir()
  (tmp_path / "photos/a.png").write_bytes(b"x")
  with pytest.raises(DataError, match="found no records"):
    extracted(tmp_path / "photos", tmp_path / "out", on_bad_record="skip")


# Folders.


def test_two_files_of_one_id(folder, tmp_path):
  save(folder / "im03.jpg")
  with pytest.raises(DataError) as caught:
    extracted(folder, tmp_path / "out")
  for words in ("im03.jpg and im03.png", "image id 'im03'", "rename"):
    assert words in str(caught.value)


def test_no_images(tmp_path):
  with pytest.raises(DataError, match="found nothing, wanted a folder"):
    extracted(tmp_path / "absent", tmp_path / "out")
  file = tmp_path / "file"
  file.touch()
  with pytest.raises(DataError, match="found a file, wanted a folder"):
    extracted(file, tmp_path / "out")
  (tmp_path / "empty").mkdir()
  (tmp_path / "empty/a.txt").touch()
  with pytest.raises(DataError, match=r"no images and 1 other files.*\.jpg"):
    extracted(tmp_path / "empty", tmp_path / "out")


def test_an_image_that_comes_meanwhile(folder, tmp_path, monkeypatch):
  reader = conversion_run.parts.images

  def images(plan, part, facts):
    save(folder / "im00a.png")
    photos.list_photos.cache_clear()  # another process has its own list
    return reader(plan, part, facts)

  monkeypatch.setattr(conversion_run.parts, "images", images)
  with pytest.raises(DataError, match="added or removed"):
    extracted(folder, tmp_path / "out")


# Decoding.


def test_images_are_upright(tmp_path):
  image = Image.new("RGB", (40, 20), "black")
  image.paste((255, 255, 255), (0, 0, 10, 20))  # white where the left is
  exif = image.getexif()
  exif[0x0112] = 6  # to be turned clockwise: the left becomes the top
  image.save(tmp_path / "a.jpg", exif=exif, quality=95)
  photo = open_photo(str(tmp_path), "a.jpg", max_side=1000)
  assert (photo.width, photo.height) == photo.image.size == (20, 40)
  pixels = np.asarray(photo.image)
  assert pixels[:8].min() > 240 and pixels[12:].max() < 15


def test_large_images_are_shrunk_and_boxes_are_not(tmp_path):
  image = Image.new("RGB", (3000, 1000), "black")
  image.paste((255, 0, 0), (0, 0, 1500, 1000))
  exif = image.getexif()
  exif[0x0112] = 8
  image.save(tmp_path / "a.jpg", exif=exif, quality=90)
  photo = open_photo(str(tmp_path), "a.jpg", max_side=600)
  assert (photo.width, photo.height) == (1000, 3000)
  assert photo.image.size == (200, 600)
  boxes = np.array([[0, 1600, 1000, 3000], [0, 0, 1000, 1400]], np.float32)
  crops = cut_crops(photo, boxes, side=32)
  assert crops[0].mean((0, 1)).round().tolist() == pytest.approx(
    [254, 0, 0], abs=3
  )
  assert crops[1].max() < 10


@pytest.mark.parametrize(
  "mode, color, wanted",
  [
    ("RGBA", (255, 0, 0, 0), (255, 255, 255)),
    ("RGBA", (255, 0, 0, 255), (255, 0, 0)),
    ("LA", (0, 0), (255, 255, 255)),
    ("L", 100, (100, 100, 100)),
    ("1", 1, (255, 255, 255)),
    ("I;16", 256 * 77, (77, 77, 77)),
  ],
)
def test_every_mode_becomes_rgb(tmp_path, mode, color, wanted):
  Image.new(mode, (4, 4), color).save(tmp_path / "a.png")
  photo = open_photo(str(tmp_path), "a.png", max_side=100)
  assert photo.image.mode == "RGB" and photo.image.getpixel((1, 1)) == wanted


def test_colour_separations_become_rgb(tmp_path):
  Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
  photo = open_photo(str(tmp_path), "a.jpg", max_side=100)
  red, green, blue = photo.image.getpixel((1, 1))
  assert red > 200 and green < 60 and blue < 60


def test_ids_are_paths(tmp_path):
  save(tmp_path / "a.b/c d.tar.png")
  assert list_photos(str(tmp_path)).names == ("a.b/c d.tar.png",)
  assert photos.image_id_of("a.b/c d.tar.png") == "a.b/c d.tar"


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


# The real networks, where the weights and real photos are.


@pytest.fixture(scope="module")
def real(shared_dir):
  try:
    describe_models(RegionSettings())
  except PackageError as error:
    pytest.skip(f"no weights; python -m tools.extract.fetch: {error}")
  stored = shared_dir / "data/coco_dev/regions36.npz"
  if not stored.exists():
    pytest.skip(f"no {stored}")
  with np.load(stored) as content:
    return stored.parent / "images", dict(content)


def test_real_boxes_agree_with_stored_ones(real):
  """The stored ones come from larger copies of the photos."""
  from tools.extract.networks.boxes import iou

  folder, stored = real
  find_boxes = load_centernet(RegionSettings())
  overlaps, scores = [], []
  for number in range(0, 104, 13):
    photo = open_photo(
      str(folder), f"{stored['image_id'][number]:012d}.jpg", max_side=1280
    )
    height, width = stored["hw"][number].tolist()
    (found,) = find_boxes([photo._replace(width=width, height=height)])
    assert found.boxes_R4.shape == (36, 4)
    assert (np.diff(found.scores_R) <= 0).all()
    count = stored["num_det"][number]
    overlap = iou(stored["boxes"][number, :count], found.boxes_R4)
    overlaps += overlap.max(1).tolist()
    scores += stored["det80"][number, :count].max(1).tolist()
  overlaps, sure = np.array(overlaps), np.array(scores) > 0.3
  assert np.median(overlaps) > 0.85
  assert sure.sum() > 10 and (overlaps[sure] > 0.5).mean() > 0.9


def test_real_features_agree_with_stored_ones(real):
  """Of large boxes, which the smaller copies show as well."""
  folder, stored = real
  extractor = load_extractor(RegionSettings())
  cosines = []
  for number in range(0, 104, 10):
    photo = open_photo(
      str(folder), f"{stored['image_id'][number]:012d}.jpg", max_side=1280
    )
    height, width = stored["hw"][number].tolist()
    photo = photo._replace(width=width, height=height)
    boxes = stored["boxes"][number]
    side = (boxes[:, 2:] - boxes[:, :2]).min(1) * photo.image.width / width
    large = np.flatnonzero(side >= 200)
    features, probs = extractor.encode(cut_crops(photo, boxes[large], side=96))
    wanted = stored["features"][number, large].astype(np.float32)
    lengths = [np.linalg.norm(x, axis=1) for x in (features, wanted)]
    cosines += ((features * wanted).sum(1) / lengths[0] / lengths[1]).tolist()
    np.testing.assert_allclose(probs.sum(1), 1, atol=1e-4)
  assert len(cosines) > 5 and min(cosines) > 0.98
  assert np.mean(cosines) > 0.995


def test_real_photos_to_a_store(real, tmp_path):
  folder, stored = real
  photos_folder = tmp_path / "photos"
  photos_folder.mkdir()
  for number in range(3):
    name = f"{stored['image_id'][number]:012d}.jpg"
    (photos_folder / name).symlink_to(folder / name)
  save(photos_folder / "grey.png", (128, 128, 128), size=(5, 1))
  options = Options(images=photos_folder, output=tmp_path / "out", workers=1)
  extract(options, RegionSettings())
  store = RegionStore(tmp_path / "out/regions")
  store.verify()
  assert store.image_ids[-1] == "grey"
  for record in store.read(range(4)):
    assert record["features"].shape == (36, 2048)
    assert record["class_probs"].shape == (36, 1000)
    scores = record["box_scores"]
    assert (np.diff(scores) <= 0).all()
  assert scores.max() == 0  # nothing in a grey picture of five pixels
  provenance = store.manifest["provenance"]
  assert "CenterNet" in provenance["detector"]
  assert pathlib.Path(tmp_path / "out/ATTRIBUTION.txt").read_text().count("MIT")
