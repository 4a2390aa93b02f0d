"""A trained model in Python: the same numbers as evaluation, kept programs."""

import pathlib
import shutil

import jax
import numpy as np
import pytest

import interbert_jax as ib
from interbert_jax import export
from interbert_jax.contract.errors import ConfigError, DataError
from interbert_jax.model.heads import pair_score
from interbert_jax.model.inputs import image_input, text_input
from interbert_jax.model.interbert import InterBert
from interbert_jax.ranking import gallery
from tests.interbert_jax.app.conftest import IMAGES, TEXTS
from tests.support.tiny_run import R


@pytest.fixture(scope="module")
def model(files):
  return ib.load(files["workdir"])


def regions_of(model, *image_ids):
  """`ib.Regions` of images of the store."""
  catalogue = model.catalogue()
  arrays = catalogue.read([catalogue.item_ids.index(i) for i in image_ids])
  return [
    ib.Regions(
      features=arrays["region_features"][n, :count],
      boxes=arrays["region_boxes"][n, :count],
      width=arrays["image_size"][n, 0],
      height=arrays["image_size"][n, 1],
      image_id=image_ids[n],
    )
    for n, count in enumerate(arrays["num_regions"])
  ]


def test_scores_are_those_of_the_evaluation(model, dense):
  images = [f"im{n}" for n in range(IMAGES)]
  found = model.score(TEXTS, images)
  assert found.shape == (len(TEXTS), IMAGES) and found.dtype == np.float32
  np.testing.assert_allclose(found, dense(TEXTS), rtol=1e-5, atol=1e-6)
  some = ["im9", "im2"]
  np.testing.assert_allclose(
    model.score("a dog", some), dense(["a dog"], some), rtol=1e-5, atol=1e-6
  )


def test_a_search_is_the_order_of_the_scores(model, dense):
  scores_I = dense(["the cat"])[0]
  order = np.argsort(-scores_I)[:4]
  found = model.search("the cat", top=4)
  assert [image.image_id for image in found] == [f"im{i}" for i in order]
  np.testing.assert_allclose(
    [image.score for image in found], scores_I[order], rtol=1e-5, atol=1e-6
  )
  assert len(model.search("the cat", top=100)) == IMAGES


def test_regions_are_scored_as_their_image_in_the_store(model):
  names = ["im4", "im7"]
  images = regions_of(model, *names)
  wanted = model.score(TEXTS, names)
  np.testing.assert_allclose(model.score(TEXTS, images), wanted, rtol=1e-6)
  plain = [
    {k: getattr(x, k) for k in ("features", "boxes", "width", "height")}
    for x in images
  ]
  np.testing.assert_allclose(model.score(TEXTS, plain), wanted, rtol=1e-6)
  # Those past the model's slots are left out, as in a store.
  (full,) = regions_of(model, "im9")
  many = ib.Regions(
    features=np.tile(full.features, (5, 1)),
    boxes=np.tile(full.boxes, (5, 1)),
    width=full.width,
    height=full.height,
  )
  first = ib.Regions(many.features[:R], many.boxes[:R], many.width, many.height)
  np.testing.assert_array_equal(
    model.score(TEXTS, many), model.score(TEXTS, first)
  )


def test_vectors_are_what_the_model_pools(model):
  run, names = model.run, ["im1", "im5", "im8"]
  interbert = InterBert(run.model, {"match_head": 2})
  packed = model.texts.pack(TEXTS[:3])
  text = text_input(packed["text_ids"], packed["text_length"])
  regions = image_input(model.images.find(names).read(range(3)))

  def pooled(text, regions):
    return interbert.apply(
      {"params": run.params},
      text,
      regions,
      method=lambda m, *x: m.pool(m.encode(*x)),
    )

  close = {"rtol": 1e-4, "atol": 1e-5}
  np.testing.assert_allclose(
    model.encode(TEXTS[:3]), pooled(text, None), **close
  )
  np.testing.assert_allclose(
    model.encode(images=names), pooled(None, regions), **close
  )
  np.testing.assert_allclose(
    model.encode(TEXTS[:3], names), pooled(text, regions), **close
  )
  assert model.encode([]).shape == (0, run.model.pooler_dim)


def test_an_explanation_adds_up(model):
  (image,) = regions_of(model, "im3")
  count = len(image.features)
  found = model.explain("the cat runs", image)
  assert found.tokens == ("[CLS]", "the", "cat", "runs", "[SEP]")
  slots = 1 + count + len(found.tokens)
  heads = model.run.model.num_heads
  assert found.attention.shape == (1, heads, slots, slots)
  np.testing.assert_allclose(found.attention.sum(-1), 1, rtol=1e-5)
  whole = model.score("the cat runs", image)[0, 0]
  assert found.score == pytest.approx(whole, rel=1e-5)
  assert count > 1
  for n in range(count):
    less = ib.Regions(
      np.delete(image.features, n, axis=0),
      np.delete(image.boxes, n, axis=0),
      image.width,
      image.height,
    )
    fall = whole - model.score("the cat runs", less)[0, 0]
    assert found.importance[n] == pytest.approx(fall, abs=1e-5)
  assert found.word_importance[[0, -1]].tolist() == [0, 0]
  packed = model.texts.pack_masked("the [MASK] runs")
  outputs = InterBert(model.run.model, {"match_head": 2}).apply(
    {"params": model.run.params},
    text_input(packed["text_ids"], packed["text_length"]),
    image_input(model.images.find(image).read([0])),
  )
  fall = whole - float(pair_score(outputs)[0])
  assert found.word_importance[2] == pytest.approx(fall, abs=1e-5)


def test_another_query_compiles_nothing(files):
  fresh = ib.load(files["workdir"])
  fresh.search("a dog")
  compiled = []
  jax.monitoring.register_event_duration_secs_listener(
    lambda event, _, **__: (
      compiled.append(event)
      if event == "/jax/core/compile/backend_compile_duration"
      else None
    )
  )
  for text in ("the cat", "red man on"):
    fresh.search(text, top=3)
  assert not compiled
  fresh.explain("a dog", "im1")
  assert compiled  # the listener works


def test_an_exported_folder_needs_nothing_else(files, model, tmp_path):
  folder = tmp_path / "exported"
  workdir = pathlib.Path(files["workdir"])
  assert not export.main(
    [
      f"--checkpoint={workdir / 'checkpoints/7'}",
      f"--vocab={files['root'] / 'vocab.txt'}",
      f"--output={folder}",
    ]
  )
  elsewhere = tmp_path / "sent"
  shutil.move(folder, elsewhere)
  images = regions_of(model, "im2", "im6")
  sent = ib.load(elsewhere)
  np.testing.assert_array_equal(
    sent.score(TEXTS, images), model.score(TEXTS, images)
  )
  with pytest.raises(ConfigError, match="name the directory of a region store"):
    sent.search("a dog")


def test_a_step_can_be_named(files, model):
  step = pathlib.Path(files["workdir"]) / "checkpoints" / "7"
  assert ib.load(step).run.fingerprint == model.run.fingerprint


@pytest.mark.parametrize(
  ("images", "message"),
  [
    (["im3", "im99"], "im99"),
    ([{"features": 1}], "wanted features, boxes, width and height"),
    ([ib.Regions(np.ones((2, 3)), np.ones((2, 4)), 5, 5)], r"\[regions, 6\]"),
    ([ib.Regions(np.ones((2, 6)), np.ones((1, 4)), 5, 5)], r"\(2, 4\)"),
    ([ib.Regions(np.ones((2, 6)), np.ones((2, 4)), 0, 5)], "pixels, above 0"),
    (
      [ib.Regions(np.full((2, 6), np.nan), np.ones((2, 4)), 5, 5)],
      "not finite",
    ),
    (["im3", ib.Regions(np.ones((2, 6)), np.ones((2, 4)), 5, 5)], "found both"),
  ],
)
def test_images_that_cannot_be_scored_are_named(model, images, message):
  with pytest.raises((ConfigError, DataError), match=message):
    model.score("a dog", images)


def test_texts_and_images_of_encode_are_pairs(model):
  with pytest.raises(ConfigError, match="3 texts and 2 images"):
    model.encode(TEXTS[:3], ["im1", "im2"])
  with pytest.raises(ConfigError, match="texts, images or both"):
    model.encode()


def test_no_words_without_their_head(model):
  with pytest.raises(Exception, match="has no mlm_head"):
    model.fill("a [MASK]")


def test_steps_cover_all_once():
  for total in (0, 1, 5, 8, 9, 64, 65, 130, 200):
    parts = list(gallery.steps(total, (1, 8, 64)))
    assert [n for part, _ in parts for n in part] == list(range(total))
    assert all(len(part) <= size for part, size in parts)
