"""CenterNet on MobileNetV3: finds objects of the 80 COCO classes.

Zhou et al. 2019 (arXiv:1904.07850): every cell of a coarse map scores each
class and says how far the edges of an object centred there are. An object is a
score that no neighbour exceeds. Inference only, from a TensorFlow.js model.

Dimensions: N images, G side of the map, C classes, P peaks, S side of images.
"""

import os
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tools.extract.networks import tfjs_graph

INPUT_SIZE = 512
STRIDE = 4  # pixels of a cell
NUM_CLASSES = 80
NUM_PEAKS = 120
_INPUT = "tower_0/images"
_OUTPUTS = ["tower_0/keypoints", "tower_0/wh"]


class Peaks(NamedTuple):
  """The best objects of some images, in descending order of score.

  Attributes:
    boxes_NP4: x1, y1, x2, y2 in pixels of the 512 x 512 image, float32; they
      may leave it, and overlap.
    class_ids_NP: int32, from 0 to 79, without background.
    scores_NP: 0 to 1, float32; classes are scored independently.
  """

  boxes_NP4: np.ndarray
  class_ids_NP: np.ndarray
  scores_NP: np.ndarray


def load_detector(
  path: str | os.PathLike[str],
) -> Callable[[np.ndarray], Peaks]:
  """Returns detect: images [N, 512, 512, 3] uint8 RGB -> Peaks.

  The network runs on one image at a time, which on a CPU is as fast as any
  number.

  Args:
    path: centernet.json; centernet.bin lies beside it.

  Raises:
    ValueError: the files are damaged, or are another model.
  """
  shape = (1, INPUT_SIZE, INPUT_SIZE, 3)
  run = tfjs_graph.make_function(
    tfjs_graph.read_graph(path), _INPUT, shape, _OUTPUTS
  )
  side = INPUT_SIZE // STRIDE
  shapes = [tuple(output.shape) for output in run.structured_outputs]
  wanted = [(1, side, side, NUM_CLASSES), (1, side, side, 4)]
  if shapes != wanted:
    raise ValueError(
      f"{path}: outputs {_OUTPUTS}: found shapes {shapes}, wanted {wanted}"
    )
  best_peaks = jax.jit(find_peaks)

  def detect(images_NSS3: np.ndarray) -> Peaks:
    _check_images(images_NSS3)
    peaks = [
      Peaks(
        np.zeros((0, NUM_PEAKS, 4), np.float32),
        np.zeros((0, NUM_PEAKS), np.int32),
        np.zeros((0, NUM_PEAKS), np.float32),
      )
    ]
    for image_SS3 in images_NSS3.astype(np.float32):
      maps = (output.numpy() for output in run(image_SS3[None]))
      peaks.append(best_peaks(*maps))
    return Peaks(*(np.concatenate(parts) for parts in zip(*peaks, strict=True)))

  return detect


def _check_images(images) -> None:
  shape, dtype = np.shape(images), getattr(images, "dtype", None)
  wanted = (INPUT_SIZE, INPUT_SIZE, 3)
  if len(shape) != 4 or shape[1:] != wanted or dtype != np.uint8:
    raise ValueError(
      f"images: expected [N, {INPUT_SIZE}, {INPUT_SIZE}, 3] uint8 RGB, got "
      f"{shape} {dtype}; resize each image to one square size"
    )


def find_peaks(
  scores_NGGC: jax.Array,
  distances_NGG4: jax.Array,
  *,
  num_peaks: int = NUM_PEAKS,
) -> Peaks:
  """The best local maxima of each class, as boxes.

  Args:
    scores_NGGC: of each class in each cell.
    distances_NGG4: pixels from the cell to the left, top, right and bottom.
    num_peaks: P.
  """
  N, _, G, C = scores_NGGC.shape
  highest_NGGC = jax.lax.reduce_window(
    scores_NGGC, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 1, 1, 1), "SAME"
  )
  peaks_NKC = jnp.where(scores_NGGC == highest_NGGC, scores_NGGC, 0.0)
  peaks_NKC = peaks_NKC.reshape(N, -1, C)
  # The best P of all lie in the best P cells, which are quicker to find.
  _, cells_NP = jax.lax.top_k(peaks_NKC.max(-1), num_peaks)
  peaks_NPC = jnp.take_along_axis(peaks_NKC, cells_NP[..., None], axis=1)
  scores_NP, best_NP = jax.lax.top_k(peaks_NPC.reshape(N, -1), num_peaks)
  cells_NP = jnp.take_along_axis(cells_NP, best_NP // C, axis=1)
  distances_NP4 = jnp.take_along_axis(
    distances_NGG4.reshape(N, -1, 4), cells_NP[..., None], axis=1
  )
  x_NP = (cells_NP % G) * float(STRIDE)
  y_NP = (cells_NP // G) * float(STRIDE)
  centres_NP4 = jnp.stack([x_NP, y_NP, x_NP, y_NP], axis=-1)
  signs_4 = jnp.array([-1.0, -1.0, 1.0, 1.0])
  return Peaks(
    centres_NP4 + distances_NP4 * signs_4,
    (best_NP % C).astype(jnp.int32),
    scores_NP,
  )
