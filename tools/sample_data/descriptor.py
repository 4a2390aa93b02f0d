"""Weight-free region features: colour and gradients, projected at random.

Dimensions: N crops, 64x64 pixels, 864 numbers of the descriptor, 2048 features.
The descriptor is whole numbers 0 to 255 and the projection is -1, 0 and 1, so
every sum is exact in float32 and no library or thread count changes a bit.
"""

import functools

import numpy as np

CROP_SIDE = 64
DESCRIPTOR_DIM = 864
FEATURE_DIM = 2048

_FINE = 8  # cells per side for colour means and deviations
_COARSE = 4  # cells per side for histograms and gradients
_BINS = 7  # of each colour channel
_ORIENTATIONS = 9
_PROJECTION_SEED = 864
_SCALE = np.float32(1 / 2048)  # features mostly between 0 and 10


@functools.cache
def _projection() -> np.ndarray:
  """Returns [864, 2048] float32 of -1, 0 and 1, a third each."""
  words = np.random.PCG64(_PROJECTION_SEED).random_raw(
    DESCRIPTOR_DIM * FEATURE_DIM
  )
  values = (words >> np.uint64(32)) % np.uint64(3)
  matrix = values.astype(np.float32) - 1
  return matrix.reshape(DESCRIPTOR_DIM, FEATURE_DIM)


def _cell_index(num_crops: int, side: int) -> np.ndarray:
  """Returns [N, side, side], the number of each pixel's coarse cell."""
  along = np.arange(side) * _COARSE // side
  cell = along[:, None] * _COARSE + along
  return np.arange(num_crops)[:, None, None] * _COARSE**2 + cell


def _colour_cells(crops: np.ndarray) -> np.ndarray:
  """[N, 64, 64, 3] -> [N, 384], mean and deviation of each cell."""
  step = CROP_SIDE // _FINE
  values = crops.astype(np.float32).reshape(len(crops), CROP_SIDE, -1)
  rows = np.repeat(np.eye(_FINE, dtype=np.float32), step, axis=1)

  def add_up(x: np.ndarray) -> np.ndarray:
    # The rows of a cell by matrix product: exact here, and the fastest way.
    summed = (rows @ x).reshape(len(x), _FINE, _FINE, step, 3)
    return summed.sum(axis=3).astype(np.int64)

  pixels = step * step
  first, second = add_up(values), add_up(values * values)
  deviation = np.sqrt(pixels * second - first * first) / pixels
  both = np.stack([first // pixels, 2 * deviation], axis=-1)
  return np.floor(both).astype(np.float32).reshape(len(crops), -1)


def _histograms(crops: np.ndarray) -> np.ndarray:
  """[N, 64, 64, 3] -> [N, 336], how often each level comes in each cell."""
  small = crops[:, ::2, ::2]
  side = small.shape[1]
  level = (small.astype(np.uint16) * _BINS) >> 8
  cell = _cell_index(len(crops), side)[..., None]
  index = (cell * 3 + np.arange(3)) * _BINS + level
  size = len(crops) * _COARSE**2 * 3 * _BINS
  counts = np.bincount(index.ravel(), minlength=size)
  pixels = (side // _COARSE) ** 2
  return (counts * 255 // pixels).reshape(len(crops), -1).astype(np.float32)


def _gradients(crops: np.ndarray) -> np.ndarray:
  """[N, 64, 64, 3] -> [N, 144], edges of each orientation in each cell."""
  small = crops[:, ::2, ::2].astype(np.int32)
  grey = small @ np.array([77, 150, 29], np.int32)  # sums to 256
  grey = np.pad(grey >> 8, ((0, 0), (1, 1), (1, 1)), mode="edge")
  along_x = grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2]
  along_y = grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1]
  angles = np.arange(_ORIENTATIONS) * np.pi / _ORIENTATIONS
  cosines = np.rint(256 * np.cos(angles)).astype(np.int32)
  sines = np.rint(256 * np.sin(angles)).astype(np.int32)
  strength = np.abs(along_x * cosines[0] + along_y * sines[0])
  best = np.zeros(strength.shape, np.int8)
  for k in range(1, _ORIENTATIONS):
    response = np.abs(along_x * cosines[k] + along_y * sines[k])
    better = response > strength
    strength = np.where(better, response, strength)
    best = np.where(better, np.int8(k), best)
  index = _cell_index(len(crops), strength.shape[1]) * _ORIENTATIONS + best
  sums = np.bincount(
    index.ravel(),
    weights=(strength >> 8).ravel(),  # whole numbers: the sums are exact
    minlength=len(crops) * _COARSE**2 * _ORIENTATIONS,
  )
  scaled = np.minimum(sums // 16, 255)
  return scaled.reshape(len(crops), -1).astype(np.float32)


def describe(crops: np.ndarray) -> np.ndarray:
  """Returns [N, 864] float32 of whole numbers, 0 to 255.

  Args:
    crops: [N, 64, 64, 3] uint8.
  """
  return np.concatenate(
    [_colour_cells(crops), _histograms(crops), _gradients(crops)], axis=1
  )


def encode_crops(crops: np.ndarray) -> np.ndarray:
  """Returns [N, 2048] float32 features, not negative.

  Args:
    crops: [N, 64, 64, 3] uint8.
  """
  if crops.shape[1:] != (CROP_SIDE, CROP_SIDE, 3) or crops.dtype != np.uint8:
    raise ValueError(
      f"crops are {crops.shape} {crops.dtype}; expected (N, 64, 64, 3) uint8"
    )
  # Centred with a whole number: bright crops would else all look alike.
  described = describe(crops)
  projected = (described - 64) @ _projection()
  return np.maximum(projected, 0) * _SCALE
