"""All pairs in buckets and tiles against one pair at a time."""

import itertools

import jax
import numpy as np
import pytest

from interbert_jax.contract.batch import CANDIDATES, dummy_batch
from interbert_jax.evaluation.retrieval import (
  RetrievalEvaluator,
  mean_metrics,
  protocol_parts,
)
from interbert_jax.model.interbert import InterBert
from interbert_jax.parallel import make_parallel
from interbert_jax.ranking import matrix_scorer
from interbert_jax.ranking.matrix_scorer import (
  MatrixScorer,
  length_buckets,
  step_shape,
)
from interbert_jax.ranking.score_tiles import MatrixTiles
from interbert_jax.tasks.retrieval import SCORES, RetrievalTask
from tests.support.plain_scores import plain_scores
from tests.support.tiny_task import (
  DIMS,
  VOCAB,
  image_side,
  text_side,
  tiny_batch,
  tiny_config,
  visible_params,
)

T, I = 13, 6
CONFIG = tiny_config()
MODEL = InterBert(CONFIG, SCORES["match"])


@pytest.fixture(scope="module")
def sides():
  texts = text_side(tiny_batch(2, T), np.sort(np.arange(T) % I))
  return image_side(tiny_batch(1, I)), texts


@pytest.fixture(scope="module")
def params():
  task = RetrievalTask(CONFIG)
  dims = {**DIMS, "B": 1, "T": 1, "I": 1}
  example = dummy_batch(CANDIDATES, dims=dims, vocab_size=VOCAB)
  return jax.device_get(visible_params(task, example))


@pytest.fixture(scope="module")
def plain(params, sides):
  images, texts = sides
  return plain_scores(MODEL, params, images=images, texts=texts)


@pytest.fixture
def small(monkeypatch):
  """Buckets and tiles that these few pairs already fill several of."""
  monkeypatch.setattr(matrix_scorer, "_PAIRS_PER_SHAPE", 8)
  monkeypatch.setattr(matrix_scorer, "_TILE_PAIRS", 16)
  monkeypatch.setattr(matrix_scorer, "_BLOCK", 4)
  monkeypatch.setattr(matrix_scorer, "_MAX_BUCKETS", 2)


@pytest.fixture(scope="module")
def scorer(sides):
  _, texts = sides
  return MatrixScorer(
    model=MODEL,
    parallel=make_parallel(),
    texts=texts,
    pairs_per_step=8,
  )


def test_equal_to_the_plain_way(small, sides, scorer, params, plain):
  seen = []
  found = scorer.scores(params, sides[0], advance=seen.append)
  assert found.dtype == np.float32 and sum(seen) == T * I and len(seen) > 4
  assert np.ptp(plain) > 0.1
  np.testing.assert_allclose(found, plain, atol=1e-5)


def test_two_towers_are_equal_to_pairs(small, sides):
  """Without interaction layers nothing but the head sees both sides."""
  config = tiny_config(num_interaction_layers=0)
  task = RetrievalTask(config)
  dims = {**DIMS, "B": 1, "T": 1, "I": 1}
  example = dummy_batch(CANDIDATES, dims=dims, vocab_size=VOCAB)
  params = jax.device_get(visible_params(task, example))
  model = InterBert(config, SCORES["match"])
  images, texts = sides
  plain = plain_scores(model, params, images=images, texts=texts)
  assert np.ptp(plain) > 0.1
  scorer = MatrixScorer(
    model=model, parallel=make_parallel(), texts=texts, pairs_per_step=8
  )
  found = scorer.scores(params, images)
  np.testing.assert_allclose(found, plain, atol=1e-5)
  # Its images are embedded to one vector each.
  embedded = scorer._embed(params, images)
  assert embedded.shape == (I, config.pooler_dim)


def test_a_part_of_texts_and_images(small, sides, scorer, params, plain):
  rows = np.array([2, 3, 9]), np.array([1, 4])
  found = scorer.scores(params, sides[0], text_rows=rows[0], image_rows=rows[1])
  np.testing.assert_allclose(found, plain[np.ix_(*rows)], atol=1e-5)


class Killed(Exception):
  pass


def test_a_killed_run_goes_on(small, sides, scorer, params, tmp_path):
  """The second run finds what the first wrote and computes only the rest."""
  whole = scorer.scores(params, sides[0])
  done = []

  def stop_at_the_third(pairs):
    done.append(pairs)
    if len(done) == 3:
      raise Killed

  with pytest.raises(Killed):
    scorer.scores(
      params,
      sides[0],
      tiles=MatrixTiles(tmp_path, "run"),
      advance=stop_at_the_third,
    )
  files = sorted(tmp_path.rglob("*.f32"))
  assert len(files) == 3
  damaged = bytearray(files[0].read_bytes())
  damaged[-1] ^= 1  # the tile is done again
  files[0].write_bytes(damaged)
  again = MatrixTiles(tmp_path, "run")
  np.testing.assert_array_equal(
    scorer.scores(params, sides[0], tiles=again), whole
  )
  assert again.reused == 2
  other = MatrixTiles(tmp_path, "another checkpoint")
  scorer.scores(params, sides[0], tiles=other)
  assert other.reused == 0
  again.remove()
  assert not again.folder.exists() and other.folder.exists()


def test_steps_fill_up_as_little_as_can_be():
  # 1,000 images in 16 steps of 64 would be 1,024, in 20 of 50 none twice.
  assert step_shape(400, 1000, [5000]) == (8, 50)
  # Of equal ones that with most images, which are embedded once a step.
  assert step_shape(512, 1024, [5120]) == (8, 64)
  # 67 images as 68 instead of 128, 250 texts as 256.
  assert step_shape(512, 67, [250, 250]) == (128, 4)
  assert step_shape(8, 3, [12]) == (2, 4)
  assert step_shape(97, 1000, [5000]) == (97, 1)


def test_folds_are_ranked_by_themselves(sides, params, plain, tmp_path):
  images, texts = sides
  evaluator = RetrievalEvaluator(
    config=CONFIG,
    score=SCORES["match"],
    parallel=make_parallel(),
    images=images,
    texts=texts,
    pairs_per_step=8,
  )
  name, parts = protocol_parts("folds", I, 2)
  assert name == "3_folds_of_2" and parts == [(0, 2), (2, 4), (4, 6)]
  owner = texts["image_of_text"]
  assert evaluator.counts(parts) == {
    "n_images": 6,
    "n_texts": 13,
    "n_pairs_scored": 26,
  }
  # Folds of as many texts are cut alike, and keep their tiles in one folder.
  tiles = MatrixTiles(tmp_path, "run")
  for first, last in parts:
    rows = np.flatnonzero((owner >= first) & (owner < last))
    np.testing.assert_allclose(
      evaluator.scores(params, (first, last), tiles=tiles),
      plain[rows, first:last],
      atol=1e-5,
    )
    assert evaluator.image_of_text_in((first, last)).tolist() == [
      image - first for image in owner[rows]
    ]
  assert tiles.reused == 0


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (("folds", 10, 3), "10 images cannot be cut into equal parts of 3"),
    (("first", 10, 11), "parts of 11 images; the split has 10"),
    (("some", 10, 5), "wanted all, first or folds"),
  ],
)
def test_protocols_that_do_not_fit(arguments, message):
  with pytest.raises(ValueError, match=message):
    protocol_parts(*arguments)


def test_names_of_protocols():
  assert protocol_parts("all", 7, 1000) == ("all_pairs", [(0, 7)])
  assert protocol_parts("first", 7, 3) == ("first_3", [(0, 3)])
  found = mean_metrics([{"r": 0.5, "n_ties": 1}, {"r": 1.0, "n_ties": 2}])
  assert found == {"r": 0.75, "n_ties": 3}


def padded_slots(lengths, cuts):
  """Slots where sorted distinct lengths are cut after these numbers."""
  distinct = sorted(set(lengths))
  groups = [
    distinct[a:b]
    for a, b in zip((0, *cuts), (*cuts, len(distinct)), strict=True)
  ]
  return sum(
    max(group) * sum(length in group for length in lengths) for group in groups
  )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("most", [1, 2, 3, 9])
def test_least_padding(seed, most):
  lengths = np.random.default_rng(seed).integers(1, 9, 20)
  found = length_buckets(lengths, most)
  assert sorted(np.concatenate([b.items for b in found])) == list(range(20))
  for items, length in found:
    assert (np.diff(items) > 0).all()
    assert lengths[items].max() == length
  distinct = len(set(lengths.tolist()))
  best = min(
    padded_slots(lengths.tolist(), cuts)
    for k in range(min(most, distinct))
    for cuts in itertools.combinations(range(1, distinct), k)
  )
  assert sum(len(b.items) * b.length for b in found) == best
  assert len(found) <= most


def test_one_length_is_one_bucket():
  (bucket,) = length_buckets(np.full(4, 36), 3)
  assert bucket.length == 36 and bucket.items.tolist() == [0, 1, 2, 3]
