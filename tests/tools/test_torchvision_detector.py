"""Faster R-CNN as a detector, with random weights; needs torchvision."""

import importlib.util

import numpy as np
import pytest
from PIL import Image

from interbert_jax.contract.errors import UserError
from tools.extract.models import describe_models
from tools.extract.photos import Photo
from tools.extract.run import extract
from tools.extract.settings import Options, RegionSettings
from tools.extract.torchvision_detector import check_installed, load_torchvision
from tools.packages import PackageError


def photo(size=(120, 90)):
  pixels = np.random.default_rng(0).integers(0, 255, (*size[::-1], 3), np.uint8)
  # The original is twice as large.
  return Photo("a.jpg", "a", Image.fromarray(pixels), 2 * size[0], 2 * size[1])


def settings(path, **options):
  return RegionSettings(detector="torchvision", weights=str(path), **options)


def test_without_torch_it_says_so(monkeypatch, tmp_path):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(ValueError, match="torch and torchvision not installed"):
    check_installed()
  (tmp_path / "images").mkdir()
  try:
    describe_models(RegionSettings())
  except PackageError:
    pytest.skip("no weights; python -m tools.extract.fetch")
  except ValueError:
    pass
  options = Options(images=tmp_path / "images", output=tmp_path / "out")
  with pytest.raises(UserError, match="pip install torch torchvision"):
    extract(options, settings("absent.pth"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
  torch = pytest.importorskip("torch")
  torchvision = pytest.importorskip("torchvision")
  torch.manual_seed(0)
  model = torchvision.models.detection.fasterrcnn_resnet50_fpn(
    weights=None, weights_backbone=None
  )
  path = tmp_path_factory.mktemp("torch") / "random.pth"
  # As published: without the counters of the batch norms.
  torch.save(
    {
      name: tensor
      for name, tensor in model.state_dict().items()
      if not name.endswith("num_batches_tracked")
    },
    path,
  )
  return path


def test_boxes_and_probabilities(weights):
  find_boxes = load_torchvision(settings(weights, max_regions=6, min_regions=6))
  first, second = find_boxes([photo(), photo((40, 300))])
  for found, size in ((first, (240, 180)), (second, (80, 600))):
    assert found.boxes_R4.shape == (6, 4)
    assert found.class_probs_RC.shape == (6, 91)
    np.testing.assert_allclose(found.class_probs_RC.sum(1), 1, atol=1e-5)
    assert (np.diff(found.scores_R) <= 0).all()
    assert (found.boxes_R4[:, 2:] <= np.array(size) + 1e-3).all()


def test_other_files_are_refused(weights, tmp_path):
  import torch

  for content, words in (
    ([1, 2], "found a list"),
    ({"a": torch.zeros(1)}, "1 surplus"),
    ({"rpn.head.cls_logits.bias": torch.zeros(7)}, "size mismatch"),
  ):
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(ValueError, match=words) as caught:
      load_torchvision(settings(path))
    assert str(path) in str(caught.value)
  path.write_bytes(b"no weights")
  with pytest.raises(ValueError, match="cannot be read"):
    load_torchvision(settings(path))
  with pytest.raises(ValueError, match="no such file"):
    load_torchvision(settings(tmp_path / "absent.pth"))
