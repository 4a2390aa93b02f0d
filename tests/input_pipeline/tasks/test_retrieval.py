"""Candidates of captions: what is drawn, how often, and what is refused."""

import numpy as np
import pytest

from input_pipeline.annotations.load import load_captions
from input_pipeline.negatives.table import write_table
from input_pipeline.tasks.retrieval import retrieval_set
from interbert_jax.contract.batch import CANDIDATES
from tests.support.batch_checks import check_batches, check_fingerprints
from tests.support.tiny_data import (
  build,
  caption_files,
  caption_line,
  write_lines,
)

IMAGES = 8


@pytest.fixture(scope="module")
def files(tmp_path_factory):
  return caption_files(tmp_path_factory.mktemp("candidates"))


def write_near_images(path, annotations, rows):
  """The rows name of each image those that are near to it."""
  rows = np.array(rows, np.int32)
  write_table(
    path,
    [(rows, np.zeros(rows.shape))],
    kind="images",
    fingerprint=load_captions(annotations, "train").images_sha256,
    items=len(rows),
    per_item=2,
    about={},
  )
  return path


@pytest.fixture(scope="module")
def near(files, tmp_path_factory):
  """Of image i the images i + 1 and i + 2 are near; of the last one only 0."""
  rows = np.stack([(np.arange(IMAGES) + k) % IMAGES for k in (1, 2)], 1)
  rows[-1] = 0, -1
  path = tmp_path_factory.mktemp("near") / "near"
  return write_near_images(path, files["annotations"], rows)


def test_batches_with_hard_texts(files, near):
  options = {**files, "random_texts": 2, "random_images": 3}
  info = build("candidates", **options).info
  assert (info["texts_per_example"], info["images_per_example"]) == (3, 4)
  hard = {"hard_texts": 1, "near_images": near}
  check_batches("candidates", {**options, **hard}, spec=CANDIDATES)
  check_fingerprints("candidates", files, [hard])


def test_the_fingerprint_of_a_set_changes_with_its_arrays(files):
  def fingerprint(**changes):
    settings = build("candidates", **{**files, **changes}).settings
    return retrieval_set(settings, "train").fingerprint

  same = fingerprint()
  assert fingerprint(random_texts=2) == same
  for change in ({"max_regions": 1}, {"max_text_length": 4}):
    assert fingerprint(**change) != same, change


def test_an_example_is_its_caption_and_image_as_stored(files):
  data = build("candidates", **files)
  plain = build("pretrain", **files, mismatch_prob=0.0)
  own = np.array([5, 0, 9])
  found, wanted = data.rows(own, own), plain.rows(own, own)
  for key in ("text_ids", "text_length", "region_features", "region_boxes"):
    np.testing.assert_array_equal(found[key][:, 0], wanted[key])


def test_candidates_are_of_other_images_and_uniform(files, near):
  data = build(
    "candidates", **files, random_texts=2, hard_texts=1, near_images=near
  )
  image_of_text = data.captions.image_of_text
  N = len(image_of_text)
  own = np.full(30_000, 4)  # one of several captions of its image
  texts, images = data.choose(np.arange(len(own)), own)
  assert (texts[:, 0] == 4).all() and (images[:, 0] == image_of_text[4]).all()
  others = np.flatnonzero(image_of_text != image_of_text[4])
  for column in (1, 2):
    counts = np.bincount(texts[:, column], minlength=N)
    assert set(np.flatnonzero(counts)) == set(others)
    spread = counts[others] / (len(own) / len(others))
    assert 0.9 < spread.min() and spread.max() < 1.1
  counts = np.bincount(images[:, 1], minlength=IMAGES)
  assert counts[image_of_text[4]] == 0
  rest = np.delete(counts, image_of_text[4]) / (len(own) / (IMAGES - 1))
  assert 0.9 < rest.min() and rest.max() < 1.1
  # Two random texts of a position are drawn by themselves.
  assert abs(np.mean(texts[:, 1] == texts[:, 2]) - 1 / len(others)) < 0.01
  near_ones = set(image_of_text[texts[:, 3]])
  assert near_ones == {image_of_text[4] + 1, image_of_text[4] + 2}


def test_images_with_fewer_near_ones(files, near):
  data = build(
    "candidates", **files, hard_texts=1, random_images=0, near_images=near
  )
  last = int(np.flatnonzero(data.captions.image_of_text == IMAGES - 1)[0])
  texts, images = data.choose(np.arange(200), np.full(200, last))
  assert set(data.captions.image_of_text[texts[:, 2]]) == {0}
  assert images.shape == (200, 1)


def test_hard_texts_want_near_images(files):
  with pytest.raises(ValueError, match=r"near_images.*mine_negatives"):
    build("candidates", **files, hard_texts=1)


def test_near_images_of_another_split_are_refused(files, near):
  options = {**files, "split": "val", "train_split": "val"}
  with pytest.raises(ValueError, match="negatives of other images"):
    build("candidates", **options, hard_texts=1, near_images=near)


def write_topics(path, *, images=6):
  """Topics of several images each, and a caption of every image's own."""
  return write_lines(
    path,
    [
      caption_line(
        f"im{i}",
        *[
          "a dog" if i % 2 else "A  Dog",  # one text, in two spellings
          *(["the cat"] if i < 3 else []),
          f"{'un ' * i}red man",
        ][i == images - 1 :],  # the last image has no dog
      )
      for i in range(images)
    ],
  )


@pytest.fixture(scope="module")
def topics(files, tmp_path_factory):
  return write_topics(tmp_path_factory.mktemp("topics") / "topics.jsonl")


def same_words(data, index):
  return " ".join(data.captions.texts[index].lower().split())


def choose_often(data, times):
  """Draws for every caption; what an image says is none of its negatives.

  Returns:
    own: [n] the captions that are drawn for.
    texts, images: the candidates, each row's own first.
    said: texts of each image.
  """
  image_of_text = data.captions.image_of_text
  said = [set() for _ in range(6)]
  for text, image in enumerate(image_of_text):
    said[image].add(same_words(data, text))
  own = np.tile(np.arange(len(image_of_text)), times)
  texts, images = data.choose(np.arange(len(own)), own)
  for row in range(len(own)):
    for text in texts[row, 1:]:
      assert same_words(data, text) not in said[image_of_text[own[row]]]
    for other in images[row, 1:]:
      assert same_words(data, own[row]) not in said[other]
  return own, texts, images, said


def test_shared_captions_are_nobodys_negatives(files, topics):
  data = build(
    "candidates",
    **{**files, "annotations": topics},
    random_texts=3,
    random_images=2,
  )
  image_of_text = data.captions.image_of_text
  N = len(image_of_text)
  own, texts, images, said = choose_often(data, 400)
  # All that are left are drawn, each as often: of image 0 the four captions
  # that it has not, and of "the cat" the three images without one.
  first = same_words(data, 0)
  assert first == "a dog"
  of_image = image_of_text[own] == 0
  counts = np.bincount(texts[of_image, 1:].ravel(), minlength=N)
  right = [t for t in range(N) if same_words(data, t) not in said[0]]
  assert np.flatnonzero(counts).tolist() == right
  share = counts[right] / counts.sum() * len(right)
  assert 0.85 < share.min() and share.max() < 1.15
  cat = [t for t in range(N) if same_words(data, t) == "the cat"]
  counts = np.bincount(images[np.isin(own, cat), 1:].ravel(), minlength=6)
  assert counts[:3].sum() == 0
  share = counts[3:] / counts.sum() * 3
  assert 0.85 < share.min() and share.max() < 1.15
  # "a dog" leaves a single image, which draws of the others must find.
  dogs = np.flatnonzero([same_words(data, t) == "a dog" for t in own])
  assert set(images[dogs, 1:].ravel()) == {5}


def test_what_is_left_where_redrawing_is_in_vain(files, topics, monkeypatch):
  monkeypatch.setattr("input_pipeline.tasks.retrieval._REDRAWS", 1)
  data = build("candidates", **{**files, "annotations": topics})
  choose_often(data, 50)


def test_redrawn_candidates_depend_on_the_position_alone(files, topics):
  data = build("candidates", **{**files, "annotations": topics})
  own = np.arange(14) % data.info["num_examples"]
  position = np.arange(14)
  whole = data.choose(position, own)
  for part in (slice(0, 5), slice(5, 14)):
    some = data.choose(position[part], own[part])
    for got, want in zip(some, whole, strict=True):
      np.testing.assert_array_equal(got, want[part])


def test_near_images_that_share_a_caption(files, topics, tmp_path):
  """All images near to image 0 are of its topic, but for one caption each."""
  rows = [[1, 2], [0, 2], [0, 1], [0, 1], [0, 1], [0, 1]]
  data = build(
    "candidates",
    **{**files, "annotations": topics},
    random_texts=0,
    hard_texts=1,
    near_images=write_near_images(tmp_path / "near", topics, rows),
  )
  texts, _ = data.choose(np.arange(300), np.zeros(300, int))
  assert {same_words(data, t) for t in texts[:, 1]} == {
    "un red man",
    "un un red man",
  }


def test_a_caption_of_all_images_is_refused(files, tmp_path):
  images = [
    caption_line(f"im{i}", "a dog", *more)
    for i, more in enumerate([[], ["red"], ["man"]])
  ]
  options = {**files, "annotations": write_lines(tmp_path / "c.jsonl", images)}
  with pytest.raises(ValueError, match="found 'a dog' for all 3 images"):
    build("candidates", **options)
  build("candidates", **options, random_images=0)
  images[0]["captions"] += ["red", "man"]
  images[1]["captions"] = ["red"]  # "a dog" is no longer said of all
  options["annotations"] = write_lines(tmp_path / "d.jsonl", images)
  with pytest.raises(ValueError, match="image im0: found that every caption"):
    build("candidates", **options)
  build("candidates", **options, random_texts=0)


def test_captions_that_nobody_shares_are_drawn_as_before(files, tmp_path):
  """The bits of runs that were begun before there were shared ones."""
  lines = [
    caption_line(f"im{i}", *(f"{'un ' * i}{word}" for word in ("dog", "cat")))
    for i in range(6)
  ]
  options = {**files, "annotations": write_lines(tmp_path / "c.jsonl", lines)}
  data = build("candidates", **options, random_texts=2, random_images=2)
  assert "shared_captions" not in data.info
  texts, images = data.choose(np.arange(4), 3 * np.arange(4))
  assert texts.tolist() == [[0, 5, 10], [3, 7, 10], [6, 2, 4], [9, 4, 2]]
  assert images.tolist() == [[0, 2, 5], [1, 5, 2], [3, 0, 4], [4, 3, 3]]
