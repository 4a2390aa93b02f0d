"""Topics over a catalogue: scores against dense ones, kills, refusals."""

import numpy as np
import pytest

from interbert_jax.app.ranking.kdd import rank_candidates
from interbert_jax.app.ranking.recommendation import Recommender
from interbert_jax.app.ranking.settings import RecommendSettings
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.contract.errors import ConfigError
from interbert_jax.ranking.matrix_scorer import MatrixScorer
from tests.interbert_jax.app.conftest import (
  IMAGES,
  ITEMS,
  TILE,
  TOPICS,
  catalogue_of,
)
from tests.support.tiny_data import write_lines
from tests.support.tiny_run import R, write_run


@pytest.fixture
def make(files, run, parallel, tmp_path):
  def recommender(name="scores", *, run=run, **options):
    wanted = {
      "topics": str(files["topics"]),
      "items": str(files["items"]),
      "output": "ranking.jsonl",
      "scores": str(tmp_path / name),
      "tile_items": TILE,
      "top_k": 4,
    }
    settings = RecommendSettings(**{**wanted, **options})
    return Recommender(run, settings, parallel)

  return recommender


def scored(make, name="scores"):
  recommender = make(name)
  recommender.score()
  return recommender


def all_tiles(recommender):
  return np.concatenate([part for _, part in recommender.tiles.all()], axis=2)


def test_scores_are_those_of_the_evaluator(make, dense):
  recommender = make()
  pairs = recommender.score()
  assert pairs == len(TOPICS) * len(ITEMS)
  match_TI = all_tiles(recommender)[0]
  wanted = dense([topic["text"] for topic in TOPICS], ITEMS)
  np.testing.assert_allclose(match_TI, wanted, rtol=1e-5, atol=1e-6)
  assert np.ptp(match_TI) > 0.01
  assert recommender.score() == 0  # nothing is left


def test_a_killed_run_goes_on_to_the_same_scores(make, monkeypatch):
  whole = scored(make, "whole")
  done, real = [], MatrixScorer.scores

  def dies(self, params, images, **options):
    if len(done) == 1:
      raise KeyboardInterrupt
    done.append(len(images["num_regions"]))
    return real(self, params, images, **options)

  monkeypatch.setattr(MatrixScorer, "scores", dies)
  with pytest.raises(KeyboardInterrupt):
    make("killed").score()
  monkeypatch.setattr(MatrixScorer, "scores", real)
  again = make("killed")
  assert again.tiles.missing() == [1, 2]
  assert again.score() == len(TOPICS) * (len(ITEMS) - TILE)
  np.testing.assert_array_equal(all_tiles(again), all_tiles(whole))


def test_shares_make_the_whole(make):
  whole = scored(make, "whole")
  make("shares", share="1/2").score()
  assert not make("shares").is_whole()
  assert make("shares").tiles.missing() == [0, 2]
  make("shares", share="0/2").score()
  shares = make("shares")
  assert shares.is_whole()
  np.testing.assert_array_equal(all_tiles(shares), all_tiles(whole))
  for text in ("2/2", "1", "a/b", "-1/2"):
    with pytest.raises(ConfigError, match="wanted I/N"):
      make(share=text)
  with pytest.raises(ConfigError, match="restart would throw away"):
    make(share="0/2", restart=True)


def test_a_pipeline_makes_the_whole(make):
  pytest.importorskip("apache_beam")
  whole = scored(make, "whole")
  beam = make("beam", beam="--runner=DirectRunner")
  assert beam.score() == len(TOPICS) * len(ITEMS)
  assert beam.is_whole()
  np.testing.assert_array_equal(all_tiles(beam), all_tiles(whole))


def test_what_has_changed_is_refused(make, run, files, tmp_path_factory):
  make().score()
  other = write_lines(
    tmp_path_factory.mktemp("topics") / "topics.jsonl",
    [TOPICS[0] | {"text": "a cat"}, *TOPICS[1:]],
  )
  with pytest.raises(ConfigError, match="topics_sha256 is"):
    make(topics=str(other))
  with pytest.raises(ConfigError, match="catalogue_fingerprint is"):
    make(items="")
  workdir = write_run(tmp_path_factory.mktemp("other"), images=2, seed=1)
  changed = TrainedRun(
    str(workdir),
    checkpoint="latest",
    changes=[
      f"input.vocab={files['root'] / 'vocab.txt'}",
      f"input.store={run.config['input']['store']}",
    ],
  )
  with pytest.raises(
    ConfigError, match="checkpoint_fingerprint is .*--restart"
  ):
    make(run=changed)
  fresh = make(topics=str(other), restart=True)
  assert fresh.tiles.missing() == [0, 1, 2]


def mean_regions(record):
  return record["features"][:R].astype(np.float64).mean(axis=0)


def cosine(a, b):
  return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def test_examples_are_the_mean_cosine(make, run):
  recommender = scored(make)
  found = all_tiles(recommender)[recommender.tiles.channels.index("examples")]
  store = catalogue_of(run)._store
  vector = {
    record["image_id"]: mean_regions(record)
    for record in store.read(np.arange(IMAGES))
  }
  for topic, row in zip(TOPICS, found, strict=True):
    examples = topic.get("examples", [])
    wanted = [
      np.mean([cosine(vector[item], vector[e]) for e in examples])
      if examples
      else 0.0
      for item in ITEMS
    ]
    np.testing.assert_allclose(row, wanted, atol=1e-5)


def test_titles_are_like_scikit_learns(make):
  from sklearn.feature_extraction.text import TfidfVectorizer

  recommender = scored(make)
  found = all_tiles(recommender)[recommender.tiles.channels.index("title")]
  titles = [title or "" for title in recommender.catalogue.titles]
  vectoriser = TfidfVectorizer(token_pattern=r"\w+").fit(titles)
  # Words that no title has count in the length of a phrase here.
  known = [
    " ".join(w for w in t["text"].split() if w in vectoriser.vocabulary_)
    for t in TOPICS
  ]
  wanted = vectoriser.transform(known) @ vectoriser.transform(titles).T
  kept = [n for n, t in enumerate(TOPICS) if t["text"] == known[n]]
  assert len(kept) == 2
  np.testing.assert_allclose(
    found[kept], wanted.toarray()[kept], rtol=1e-5, atol=1e-7
  )
  # "the cat runs": the first two words are those of the second title.
  idf = np.log((1 + len(ITEMS)) / (1 + np.array([1, 1, 0]))) + 1
  assert found[1, 1] == pytest.approx(
    np.linalg.norm(idf[:2]) / np.linalg.norm(idf), rel=1e-5
  )


def test_ranking_is_the_sorted_sum_of_standardised_parts(make):
  recommender = scored(make)
  match, examples, title = all_tiles(recommender).astype(np.float64)

  def standard(x):
    deviation = x.std(axis=1, keepdims=True)
    deviation[deviation == 0] = 1  # of the topic without examples
    return (x - x.mean(axis=1, keepdims=True)) / deviation

  found = make(example_weight=0.3, title_weight=0.2).rank()
  for place, topic in enumerate(found):
    if topic.topic_id == "t1":  # has no examples: the match has their share
      score = (0.8 * standard(match) + 0.2 * standard(title))[place]
    else:
      parts = 0.5 * standard(match) + 0.2 * standard(title)
      score = (parts + 0.3 * standard(examples))[place]
    excluded = TOPICS[place].get("examples", [])
    order = [n for n in np.argsort(-score) if ITEMS[n] not in excluded][:4]
    assert topic.item_ids == tuple(ITEMS[n] for n in order)
    np.testing.assert_allclose(topic.scores, score[order], rtol=1e-6)
  assert found[1].excluded == ("im3",)  # im6 is not in the catalogue
  kept = make(exclude_examples=False).rank()
  assert "im9" in kept[2].item_ids and kept[2].excluded == ()


def test_one_part_is_kept_as_it_is(make):
  recommender = scored(make)
  match_TI = all_tiles(recommender)[0]
  for topic, row in zip(
    make(example_weight=0.0, exclude_examples=False).rank(),
    match_TI,
    strict=True,
  ):
    np.testing.assert_array_equal(topic.scores, np.sort(row)[::-1][:4])


def test_weights_that_say_nothing_are_refused(make):
  for options, words in (
    ({"example_weight": 0.8, "title_weight": 0.3}, "more than 1 together"),
    ({"title_weight": -0.1}, "title_weight is -0.1; wanted 0 to 1"),
  ):
    with pytest.raises(ConfigError, match=words):
      make(**options).weights()
  with pytest.raises(ConfigError, match="no item has a title"):
    make("plain", items="", title_weight=0.5).weights()


def test_the_model_counts_where_a_topic_has_no_examples(make):
  """Title and examples at a half each leave it nothing elsewhere."""
  match, examples, title = make(title_weight=0.5).weights()
  has = np.array([bool(topic.get("examples")) for topic in TOPICS])
  np.testing.assert_array_equal(match, np.where(has, 0.0, 0.5))
  np.testing.assert_array_equal(examples, np.where(has, 0.5, 0.0))
  np.testing.assert_array_equal(title, 0.5)


def test_unknown_examples_are_named(make, files, tmp_path):
  topics = write_lines(tmp_path / "t.jsonl", [TOPICS[0] | {"examples": ["x"]}])
  with pytest.raises(ValueError, match=r"t\.jsonl are not in this store.*: x"):
    make(topics=str(topics))


def test_candidate_lists(run, parallel, dense):
  queries = [
    ("a dog", ["im4", "im1", "im10"]),
    ("the cat", ["im1", "im0", "im7", "im2"]),
    ("red man", ["im8"]),
  ]
  found = rank_candidates(run, queries, parallel, tile_items=TILE)
  scores = dense([text for text, _ in queries])
  for (_, candidates), row, items in zip(
    queries, scores, found.lists, strict=True
  ):
    wanted = sorted(candidates, key=lambda item: -row[int(item[2:])])
    assert list(items) == wanted
  assert found.n_pairs == 8
