"""Photos as they are opened, and the real networks on real photos.

The networks' tests are skipped where the weights or the photos are not.
"""

import numpy as np
import pytest
from PIL import Image

from input_pipeline.store.region_store import RegionStore
from interbert_jax.contract.errors import DataError
from tests.support.fake_extractor import extracted, save_picture
from tests.support.refusals import refused
from tools.extract import photos
from tools.extract.models import describe_models, load_centernet, load_extractor
from tools.extract.networks.boxes import iou
from tools.extract.photos import list_photos, open_photo
from tools.extract.regions import cut_crops
from tools.extract.run import extract
from tools.extract.settings import Options, RegionSettings
from tools.packages import PackageError


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
  save_picture(tmp_path / "a.b/c d.tar.png")
  assert list_photos(str(tmp_path)).names == ("a.b/c d.tar.png",)
  assert photos.image_id_of("a.b/c d.tar.png") == "a.b/c d.tar"


def test_two_files_of_one_id(folder, tmp_path):
  save_picture(folder / "im03.jpg")
  with refused("im03.jpg and im03.png", "image id 'im03'", "rename"):
    extracted(folder, tmp_path / "out")


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


# The real networks.


def open_stored(real, number):
  """The photo of a row, as large as what the row's boxes were found in."""
  folder, stored = real
  name = f"{stored['image_id'][number]:012d}.jpg"
  height, width = stored["hw"][number].tolist()
  photo = open_photo(str(folder), name, max_side=1280)
  return photo._replace(width=width, height=height)


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
  _, stored = real
  find_boxes = load_centernet(RegionSettings())
  overlaps, scores = [], []
  for number in range(0, 104, 13):
    (found,) = find_boxes([open_stored(real, number)])
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
  _, stored = real
  extractor = load_extractor(RegionSettings())
  cosines = []
  for number in range(0, 104, 10):
    photo = open_stored(real, number)
    boxes = stored["boxes"][number]
    sides = (boxes[:, 2:] - boxes[:, :2]).min(1)
    large = np.flatnonzero(sides * photo.image.width / photo.width >= 200)
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
  save_picture(photos_folder / "grey.png", (128, 128, 128), size=(5, 1))
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
  assert "MIT" in (tmp_path / "out/ATTRIBUTION.txt").read_text()
