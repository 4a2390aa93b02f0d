"""Pictures instead of regions, where the extractor is the model's."""

import io

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

import interbert_jax as ib
from input_pipeline.formats.base import ImageRegions
from interbert_jax.app.serve.server import make_app
from interbert_jax.app.serve.service import Service
from interbert_jax.app.serve.settings import ServeSettings
from interbert_jax.contract.errors import ConfigError, DataError
from tests.support.tiny_data import E
from tools.extract import models as extraction


def regions_of(photo):
  """Two boxes, whose features are the mean colour."""
  colour = np.asarray(photo.image, np.float32).mean((0, 1)) / 255
  return np.tile(np.resize(colour, E), (2, 1)) + [[0.0], [0.5]]


@pytest.fixture(autouse=True)
def extractor(monkeypatch):
  def load(settings):
    def extract(photos):
      return [
        ImageRegions(
          place=photo.place,
          image_id=photo.image_id,
          features=regions_of(photo),
          boxes=np.array([[0, 0, 5, 5], [1, 1, 8, 6]], np.float32),
          width=photo.width,
          height=photo.height,
        )
        for photo in photos
      ]

    return extract

  def describe(settings):
    return extraction.Models("mean colours", 10, None, {})

  monkeypatch.setattr(extraction, "load_extractor", load)
  monkeypatch.setattr(extraction, "describe_models", describe)


@pytest.fixture
def picture(tmp_path):
  path = tmp_path / "red.png"
  Image.new("RGB", (20, 10), (250, 10, 60)).save(path)
  return path


def test_a_picture_is_its_regions(files, picture):
  model = ib.load(files["workdir"])
  (regions,) = model.images.of_pictures([picture])
  assert (regions.width, regions.height) == (20, 10)
  np.testing.assert_array_equal(
    model.score("a dog", str(picture)), model.score("a dog", regions)
  )
  assert model.explain("a dog", picture).boxes.shape == (2, 4)
  broken = picture.with_name("broken.png")
  broken.write_bytes(b"no picture")
  with pytest.raises(DataError, match=r"broken\.png"):
    model.score("a dog", [str(picture), str(broken)])


def test_regions_of_another_extractor_are_refused(files, picture):
  model = ib.load(files["workdir"])
  model.run.meta["extractor"] = "Faster R-CNN"
  message = r"\(Faster R-CNN\) than .*mean colours"
  with pytest.raises(ConfigError, match=message):
    model.score("a dog", str(picture))


def test_a_picture_is_sent_to_the_service(files, picture):
  settings = ServeSettings(model=files["workdir"])
  service = Service(settings)
  with TestClient(
    make_app(service, settings), base_url="http://127.0.0.1"
  ) as client:
    assert client.get("/v1/catalogues").json()["send"]
    sent = {"picture": picture.read_bytes()}
    name = client.post("/v1/pictures", files=sent).json()["image_id"]
    asked = {"texts": ["a dog"], "image_ids": ["im3", name, "im1"]}
    ((stored, own, _),) = client.post("/v1/score", json=asked).json()["scores"]
    wanted = ib.load(files["workdir"]).score("a dog", str(picture))[0, 0]
    assert own == pytest.approx(wanted, rel=1e-6) and stored != own
    asked = {"text": "a dog", "image_id": name}
    explained = client.post("/v1/explain", json=asked).json()
    assert (explained["width"], explained["height"]) == (20, 10)
    wrong = client.post("/v1/pictures", files={"picture": io.BytesIO(b"x")})
    assert wrong.status_code == 422
    message = wrong.json()["error"]["message"]
    assert "cannot be decoded" in message and "/tmp" not in message
