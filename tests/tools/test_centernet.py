"""The detector: peaks and boxes worked out by hand, and the real network."""

import numpy as np
import pytest

from tests.support.tfjs_writer import node, same, texts, write_model
from tools.extract.networks import boxes, centernet
from tools.extract.networks.boxes import Boxes


def maps(G=8, C=3):
  return np.zeros((1, G, G, C), np.float32), np.ones((1, G, G, 4), np.float32)


def found(peaks):
  """(class, score, box) of each peak that is one, of the first image."""
  return [
    (int(c), round(float(s), 4), [float(v) for v in b])
    for c, s, b in zip(
      peaks.class_ids_NP[0], peaks.scores_NP[0], peaks.boxes_NP4[0], strict=True
    )
    if s > 0
  ]


def test_peaks_by_hand():
  scores, distances = maps()
  scores[0, 2, 3, 1] = 0.5
  scores[0, 2, 4, 1] = 0.4  # beside a better one of its class
  scores[0, 3, 4, 2] = 0.3  # of another class: stays
  scores[0, 7, 0, 0] = 0.9  # in a corner
  distances[0, 2, 3] = (1, 2, 3, 4)
  distances[0, 7, 0] = (10, 0, 5, 6)
  peaks = centernet.find_peaks(scores, distances, num_peaks=5)
  assert found(peaks) == [
    (0, 0.9, [-10, 28, 5, 34]),
    (1, 0.5, [11, 6, 15, 12]),
    (2, 0.3, [15, 11, 17, 13]),
  ]
  assert peaks.class_ids_NP.dtype == np.int32
  assert peaks.boxes_NP4.shape == (1, 5, 4)


def test_peaks_of_one_cell_and_of_each_image():
  rng = np.random.default_rng(0)
  scores = rng.uniform(0.1, 1, (3, 16, 16, 4)).astype(np.float32)
  scores[1, 5, 5] = (2.0, 1.9, 1.8, 1.7)  # four classes in one place
  distances = rng.uniform(1, 9, (3, 16, 16, 4)).astype(np.float32)
  peaks = centernet.find_peaks(scores, distances, num_peaks=20)
  assert peaks.class_ids_NP[1, :4].tolist() == [0, 1, 2, 3]
  for image in range(3):  # the same by sorting everything
    wanted = []
    for row, column, c in np.ndindex(16, 16, 4):
      near = scores[
        image, max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2, c
      ]
      if scores[image, row, column, c] == near.max():
        left, top, right, bottom = distances[image, row, column]
        x, y = column * 4, row * 4
        box = (x - left, y - top, x + right, y + bottom)
        wanted.append((scores[image, row, column, c], c, box))
    wanted.sort(key=lambda peak: -peak[0])
    np.testing.assert_array_equal(
      peaks.scores_NP[image], [w[0] for w in wanted[:20]]
    )
    np.testing.assert_array_equal(
      peaks.class_ids_NP[image], [w[1] for w in wanted[:20]]
    )
    np.testing.assert_allclose(
      peaks.boxes_NP4[image], [w[2] for w in wanted[:20]], rtol=1e-6
    )


# Choosing. The picture is 100 x 80.


def choose(*candidates, **options):
  """(class, score, box) of what stays."""
  box, class_ids, scores = zip(*candidates, strict=True)
  options = {"width": 100, "height": 80, "max_regions": 9} | options
  return boxes.choose_boxes(
    np.array(box, np.float32), np.array(class_ids), np.array(scores), **options
  )


BIG = [10, 10, 50, 50]


@pytest.mark.parametrize(
  "other, class_id, stays",
  [
    ([10, 10, 50, 33.9], 7, True),  # IoU a little under 0.6
    ([10, 10, 50, 34.1], 7, False),
    ([10, 10, 50, 34.1], 3, True),  # of another class
    ([10, 10, 50, 45.9], 3, True),  # a little under 0.9
    ([10, 10, 50, 46.1], 3, False),
    ([60, 10, 100, 50], 7, True),
  ],
)
def test_doubles_go(other, class_id, stays):
  kept = choose((BIG, 7, 0.9), (other, class_id, 0.8))
  assert len(kept.boxes_R4) == 1 + stays
  assert kept.scores_R[0] == np.float32(0.9)
  assert kept.class_ids_R.tolist() == [7, class_id][: 1 + stays]


def test_a_box_that_went_takes_no_other_with_it():
  chain = [[0, 0, 40, 40], [12, 0, 52, 40], [24, 0, 64, 40]]
  kept = choose(
    *((box, 1, s) for box, s in zip(chain, (0.9, 0.8, 0.7), strict=True)),
    same_class_overlap=0.5,
  )
  assert kept.boxes_R4.tolist() == [chain[0], chain[2]]


def test_edges_small_boxes_and_the_limit():
  kept = choose(
    ([-5, -5, 20, 20], 0, 0.9),
    ([30, 30, 37.9, 60], 0, 0.8),  # too narrow
    ([95, 10, 120, 60], 0, 0.7),  # too narrow where the picture ends
    ([60, 60, 68, 90], 0, 0.6),
    ([30, 0, 50, 20], 0, 0.0),  # no peak at all
  )
  assert kept.boxes_R4.tolist() == [[0, 0, 20, 20], [60, 60, 68, 80]]
  kept = choose(
    *(([x, 0, x + 9, 9], 0, 0.5) for x in (0, 20, 40)), max_regions=2
  )
  assert kept.boxes_R4[:, 0].tolist() == [0, 20]


def test_the_grid_fills_up():
  none = Boxes(
    np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, np.float32)
  )
  filled = boxes.fill_up(none, width=60, height=30, min_regions=6)
  assert filled.boxes_R4.tolist() == [
    [0, 0, 60, 30],
    [0, 0, 30, 15],
    [30, 0, 60, 15],
    [0, 15, 30, 30],
    [30, 15, 60, 30],
    [0, 0, 20, 10],
  ]
  assert filled.class_ids_R.tolist() == [-1] * 6
  assert filled.scores_R.tolist() == [0] * 6
  one = choose((BIG, 7, 0.9))
  filled = boxes.fill_up(one, width=100, height=80, min_regions=3)
  assert filled.boxes_R4.tolist() == [BIG, [0, 0, 100, 80], [0, 0, 50, 40]]
  assert filled.scores_R.tolist() == [np.float32(0.9), 0, 0]
  assert boxes.fill_up(one, width=100, height=80, min_regions=1) is one


def test_iou_of_empty_boxes_is_zero():
  empty = np.array([[3, 3, 3, 9]], np.float32)
  assert boxes.iou(empty, empty).tolist() == [[0]]


# The network, with stand-in weights and the real ones.


def write_detector(path, *, classes=80):
  """A model whose scores are the brightness of the top left pixel of cells."""
  rng = np.random.default_rng(0)
  first = np.zeros((1, 1, 3, classes), np.float32)
  first[..., 0] = 1 / (3 * 255)
  weights = {
    "bright": first,
    "far": rng.uniform(0, 0.1, (1, 1, 3, 4)).astype(np.float32),
    "far_bias": np.full(4, 20, np.float32),
  }
  nodes = [
    node("tower_0/images", "Placeholder"),
    node("tower_0/keypoints", "Conv2D", "tower_0/images", "bright", **same(4)),
    node(
      "tower_0/wh",
      "_FusedConv2D",
      "tower_0/images",
      "far",
      "far_bias",
      **same(4),
      fused_ops=texts("BiasAdd"),
    ),
  ]
  return write_model(path, nodes, weights)


def test_detecting_in_several_images(tmp_path):
  path = write_detector(tmp_path / "centernet.json")
  detect = centernet.load_detector(path)
  images = np.zeros((3, 512, 512, 3), np.uint8)
  images[1, 40, 80] = 255
  images[2, 44, 84] = 51
  peaks = detect(images)
  assert peaks.scores_NP.shape == (3, centernet.NUM_PEAKS)
  assert peaks.scores_NP.max(1).tolist() == pytest.approx([0, 1, 0.2])
  box = peaks.boxes_NP4[2, 0]
  assert box[0] < 84 < box[2] and box[1] < 44 < box[3]
  assert box[0] > 84 - 20 - 0.3 * 51 - 1
  assert detect(images[:0]).boxes_NP4.shape == (0, centernet.NUM_PEAKS, 4)


def test_another_model_is_refused(tmp_path):
  path = write_detector(tmp_path / "centernet.json", classes=79)
  with pytest.raises(ValueError, match=r"centernet.json: outputs .*128, 79"):
    centernet.load_detector(path)


@pytest.mark.parametrize(
  "images",
  [
    np.zeros((1, 512, 512, 3), np.float32),
    np.zeros((1, 256, 256, 3), np.uint8),
    np.zeros((512, 512, 3), np.uint8),
    [[0]],
  ],
)
def test_refuses_other_images(tmp_path, images):
  detect = centernet.load_detector(write_detector(tmp_path / "centernet.json"))
  with pytest.raises(ValueError, match="images: expected"):
    detect(images)
