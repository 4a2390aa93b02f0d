"""EfficientNet-Lite0 against TensorFlow, and real weights if present."""

import jax
import numpy as np
import pytest

from input_pipeline.store.host_tf import host_tensorflow
from interbert_jax.weights.weights_file import write_safetensors
from tests.support.refusals import refused
from tools.extract.networks import efficientnet
from tools.packages import cached_files
from tools.weights import ENCODER


def make_weights():
  rng = np.random.default_rng(0)
  weights = {}
  for name, shape in efficientnet.weight_shapes().items():
    if name.endswith("num_batches_tracked"):
      weights[name] = np.int64(7)
    elif name.endswith("running_var") or len(shape) == 1:
      weights[name] = rng.uniform(0.5, 1.5, shape).astype(np.float32)
    else:
      fan_in = np.prod(shape[1:])
      weights[name] = rng.normal(0, fan_in**-0.5, shape).astype(np.float32)
  return weights


@pytest.fixture(scope="module")
def weights():
  return make_weights()


@pytest.fixture(scope="module")
def encode(weights, tmp_path_factory):
  path = tmp_path_factory.mktemp("weights") / "lite0.safetensors"
  write_safetensors(path, weights)
  return efficientnet.load_encoder(path, batch_size=4)


def make_crops(count, size=32):
  rng = np.random.default_rng(1)
  return rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)


# The oracle: TensorFlow's depthwise convolution, batch norm by itself.


def oracle_norm(x, weights, name):
  centred = x - weights[f"{name}.running_mean"]
  deviation = np.sqrt(weights[f"{name}.running_var"] + 0.001)
  return (
    centred / deviation * weights[f"{name}.weight"] + (weights[f"{name}.bias"])
  )


def oracle_block(x_HWC, weights, index, stride, has_residual):
  name = f"_blocks.{index}."

  def relu6(x):
    return np.minimum(np.maximum(x, 0), 6)

  expand = weights[f"{name}_expand_conv.weight"][:, :, 0, 0]
  y = relu6(oracle_norm(x_HWC @ expand.T, weights, f"{name}_bn0"))
  y = host_tensorflow().nn.depthwise_conv2d(
    y[None],
    weights[f"{name}_depthwise_conv.weight"].transpose(2, 3, 0, 1),
    (1, stride, stride, 1),
    "SAME",
  )
  y = relu6(oracle_norm(y.numpy()[0], weights, f"{name}_bn1"))
  project = weights[f"{name}_project_conv.weight"][:, :, 0, 0]
  y = oracle_norm(y @ project.T, weights, f"{name}_bn2")
  return y + x_HWC if has_residual else y


@pytest.mark.parametrize("shape", [(8, 7), (7, 8)])
@pytest.mark.parametrize(
  "index, stride, has_residual",
  [(1, 2, False), (2, 1, True), (3, 2, False)],  # kernels 3, 3, 5
)
def test_block_agrees_with_oracle(weights, index, stride, has_residual, shape):
  block = efficientnet.BLOCKS[index]
  x_HWC = np.random.default_rng(2).normal(size=(*shape, block.in_channels))
  x_HWC = x_HWC.astype(np.float32)
  wanted = oracle_block(x_HWC, weights, index, stride, has_residual)
  params = efficientnet.fold_params(weights)["blocks"][index]
  got = efficientnet.apply_block(params, x_HWC[None], block=block)
  np.testing.assert_allclose(got[0], wanted, rtol=1e-4, atol=1e-4)


def test_stem_sees_scaled_pixels(weights):
  params = efficientnet.fold_params(weights)
  # A black and a white picture give the two ends of the input range; the kernel
  # summed over space is what an inner pixel sees.
  kernel = weights["_conv_stem.weight"].sum((2, 3))
  for level, scaled in ((0, -0.498 / 0.502), (255, 1.0)):
    image = np.full((1, 9, 9, 3), level, np.uint8)
    pixels = efficientnet.scale_pixels(image)
    stem = efficientnet._convolve(pixels, params["stem"], stride=2)
    wanted = oracle_norm(kernel.sum(1) * scaled, weights, "_bn0")
    np.testing.assert_allclose(stem[0, 2, 2], wanted, rtol=1e-4, atol=1e-4)


def test_network_has_the_published_size():
  shapes = efficientnet.weight_shapes()
  assert len(shapes) == 296
  learned = [
    np.prod(shape)
    for name, shape in shapes.items()
    if name.endswith((".weight", ".bias"))
  ]
  assert sum(learned) == 4_652_008
  assert efficientnet.FEATURE_DIM == 2048


def test_maps_and_features_are_in_order(weights, encode):
  crops = make_crops(2)
  maps = jax.jit(efficientnet.feature_maps)(
    efficientnet.fold_params(weights), crops
  )
  assert [tuple(x.shape[1:]) for x in maps] == [
    (1, 1, 1280),
    (1, 1, 320),
    (1, 1, 192),
    (2, 2, 112),
    (2, 2, 80),
    (4, 4, 40),
    (8, 8, 24),
  ]
  features, probs = encode(crops)
  pooled = [np.asarray(x).mean((1, 2)) for x in maps]
  np.testing.assert_allclose(
    features, np.concatenate(pooled, -1), rtol=1e-4, atol=1e-4
  )
  logits = pooled[0] @ weights["_fc.weight"].T + weights["_fc.bias"]
  odds = np.exp(logits - logits.max(-1, keepdims=True))
  np.testing.assert_allclose(
    probs, odds / odds.sum(-1, keepdims=True), rtol=1e-3, atol=1e-6
  )


def test_batching_changes_nothing(encode):
  crops = make_crops(7)  # one batch of 4 and 3 more
  features, probs = encode(crops)
  assert features.shape == (7, 2048) and features.dtype == np.float32
  assert probs.shape == (7, 1000) and probs.dtype == np.float32
  for i in (0, 3, 4, 6):
    alone = encode(crops[i : i + 1])
    np.testing.assert_allclose(alone[0][0], features[i], rtol=0, atol=1e-5)
    np.testing.assert_allclose(alone[1][0], probs[i], rtol=0, atol=1e-6)
  assert np.abs(features[3] - features[4]).max() > 0.01
  features, probs = encode(crops[:0])
  assert features.shape == (0, 2048) and probs.shape == (0, 1000)


@pytest.mark.parametrize(
  "crops",
  [
    np.zeros((1, 32, 32, 3), np.float32),
    np.zeros((1, 32, 31, 3), np.uint8),
    np.zeros((32, 32, 3), np.uint8),
    np.zeros((1, 32, 32, 3, 1), np.uint8),
    np.zeros((1, 3, 32, 32), np.uint8),
    np.zeros((1, 32, 32, 4), np.uint8),
    np.zeros((1, 0, 0, 3), np.uint8),
    [[0]],
  ],
)
def test_refuses_other_crops(encode, crops):
  with pytest.raises(ValueError, match="crops: expected"):
    encode(crops)


def test_lists_all_wrong_tensors(weights):
  wrong = dict(weights)
  del wrong["_fc.bias"], wrong["_blocks.3._bn1.running_var"]
  wrong["_fc.weight"] = np.zeros((10, 1280), np.float32)
  wrong["_conv_head.weight"] = np.full((1280, 320, 1, 1), "x")
  wrong["extra"] = np.zeros(1)
  with refused(
    "lite.pth",
    "5 problems",
    "missing _fc.bias (1000,)",
    "missing _blocks.3._bn1.running_var (144,)",
    "_fc.weight is (10, 1280), expected (1000, 1280)",
    "_conv_head.weight is <U1",
    "surplus extra",
    error=ValueError,
  ):
    efficientnet.fold_params(wrong, name="lite.pth")


def test_counters_may_be_absent(weights):
  kept = {
    name: array
    for name, array in weights.items()
    if not name.endswith("num_batches_tracked")
  }
  efficientnet.fold_params(kept)


def test_refuses_empty_batches(tmp_path):
  with pytest.raises(ValueError, match="batch_size"):
    efficientnet.load_encoder(tmp_path / "absent", batch_size=0)


# The real weights.


def find_real_weights():
  path = cached_files([ENCODER])["encoder"]
  if not path.exists():
    pytest.skip(f"no {path}; python -m tools.extract.fetch puts it there")
  return path


def make_synthetic_crop():
  y, x = np.mgrid[:64, :64]
  return np.stack([4 * x, 4 * y, (x * y) % 256], -1).astype(np.uint8)


def test_real_weights():
  encode = efficientnet.load_encoder(find_real_weights(), batch_size=1)
  features, probs = encode(make_synthetic_crop()[None])
  assert features.shape == (1, 2048) and np.isfinite(features).all()
  np.testing.assert_allclose(probs.sum(), 1, atol=1e-5)
  # From a PyTorch implementation with grouped convolutions and batch norms.
  assert probs[0].argmax() == 470
  np.testing.assert_allclose(probs[0, 470], 0.80009, atol=1e-4)
  # Two numbers of the head and of each of stages 7 to 2.
  pinned = {
    0: (4.1338, 0.0),
    1280: (1.8767, -3.0841),
    1600: (1.3868, 5.0297),
    1792: (9.1291, 7.1734),
    1904: (-8.791, -6.2023),
    1984: (-4.486, 2.9427),
    2024: (-9.8611, 8.7358),
  }
  for start, values in pinned.items():
    np.testing.assert_allclose(
      features[0, start : start + 2], values, atol=2e-4
    )
