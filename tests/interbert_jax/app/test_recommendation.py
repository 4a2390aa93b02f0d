"""Topics over a catalogue: scores against dense ones, kills, refusals."""

import json

import numpy as np
import pytest

from input_pipeline.annotations.chinese_clip import read_query_texts
from input_pipeline.catalogues.catalogue import Catalogue
from interbert_jax.app.ranking import scoring
from interbert_jax.app.ranking.chinese_clip import PoolRetrieval
from interbert_jax.app.ranking.kdd import rank_candidates
from interbert_jax.app.ranking.recommendation import Recommender
from interbert_jax.app.ranking.settings import PoolSettings, RecommendSettings
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.contract.errors import ConfigError
from interbert_jax.evaluation.retrieval import RetrievalEvaluator
from interbert_jax.parallel import make_parallel
from interbert_jax.ranking.matrix_scorer import MatrixScorer
from interbert_jax.ranking.retrieval_metrics import retrieval_metrics
from interbert_jax.tasks.retrieval import SCORES
from tests.support.tiny_data import write_lines
from tests.support.tiny_run import L, R, write_run

IMAGES, TILE = 11, 4
ITEMS = [f"im{i}" for i in (7, 0, 3, 9, 1, 10, 2, 5, 4)]
TOPICS = [
  {"topic_id": "t1", "text": "a dog"},
  {"topic_id": "t2", "text": "the cat runs", "examples": ["im3", "im6"]},
  {"topic_id": "t3", "text": "red man", "examples": ["im9"]},
]
# Every text of this file. As many at a time are scored in several tests: what
# is compiled once serves them all.
TEXTS = [
  *(topic["text"] for topic in TOPICS),
  *("the cat", "red", "man on", "un runs", "sits on the red"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
  root = tmp_path_factory.mktemp("recommendation")
  workdir = write_run(root, images=IMAGES)
  titles = [
    "a dog",
    "the cat",
    "",
    None,
    "a red dog on",
    "man",
    "sits",
    "",
    "a",
  ]
  lines = [
    {"item_id": item} | ({} if title is None else {"title": title})
    for item, title in zip(ITEMS, titles, strict=True)
  ]
  return {
    "root": root,
    "workdir": str(workdir),
    "topics": write_lines(root / "topics.jsonl", TOPICS),
    "items": write_lines(root / "items.jsonl", lines),
  }


@pytest.fixture(scope="module")
def run(files):
  return TrainedRun(files["workdir"], checkpoint="latest", changes=[])


@pytest.fixture(scope="module")
def parallel():
  return make_parallel()


def catalogue_of(run, items=""):
  return Catalogue(run.config["input"]["store"], max_regions=R, items=items)


@pytest.fixture(scope="module")
def dense(run, parallel):
  """Scores of some texts with some images, all at once from the evaluator."""
  catalogue = catalogue_of(run)
  tokenizer = scoring.Texts(run, TEXTS).tokenizer
  packed = tokenizer.pack(
    tokenizer.encode(TEXTS), np.arange(len(TEXTS)), max_length=L
  )
  evaluator = RetrievalEvaluator(
    config=run.model,
    score=SCORES["match"],
    parallel=parallel,
    images=catalogue.read(np.arange(IMAGES)),
    texts={
      **packed,
      "image_of_text": np.zeros(len(TEXTS), int),
    },
    pairs_per_step=16,
  )
  scores_TI = evaluator.scores(run.placed_params(parallel))

  def scores(texts, images=tuple(f"im{n}" for n in range(IMAGES))):
    rows = [TEXTS.index(text) for text in texts]
    columns = [catalogue.item_ids.index(image) for image in images]
    return scores_TI[rows][:, columns]

  return scores


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
  whole = make("whole")
  whole.score()
  scored, real = [], MatrixScorer.scores

  def dies(self, params, images, **options):
    if len(scored) == 1:
      raise KeyboardInterrupt
    scored.append(len(images["num_regions"]))
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
  whole = make("whole")
  whole.score()
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
  recommender = make()
  recommender.score()
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

  recommender = make()
  recommender.score()
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
  recommender = make()
  recommender.score()
  match, examples, title = all_tiles(recommender).astype(np.float64)

  def standard(x):
    deviation = x.std(axis=1, keepdims=True)
    deviation[deviation == 0] = 1  # of the topic without examples
    return (x - x.mean(axis=1, keepdims=True)) / deviation

  found = make(example_weight=0.3, title_weight=0.2).rank()
  for place, topic in enumerate(found):
    if topic.topic_id == "t1":  # has no examples: their share goes to the rest
      score = (0.5 * standard(match) + 0.2 * standard(title))[place] / 0.7
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
  recommender = make()
  recommender.score()
  match_TI = all_tiles(recommender)[0]
  for topic, row in zip(
    make(example_weight=0.0, exclude_examples=False).rank(),
    match_TI,
    strict=True,
  ):
    np.testing.assert_array_equal(topic.scores, np.sort(row)[::-1][:4])


def test_weights_that_say_nothing_are_refused(make):
  for options, words in (
    ({"example_weight": 1.0}, "topic 't1' has no examples"),
    ({"example_weight": 0.8, "title_weight": 0.3}, "more than 1 together"),
    ({"title_weight": -0.1}, "title_weight is -0.1; wanted 0 to 1"),
  ):
    with pytest.raises(ConfigError, match=words):
      make(**options).weights()
  with pytest.raises(ConfigError, match="no item has a title"):
    make("plain", items="", title_weight=0.5).weights()


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


@pytest.fixture
def pool(run, parallel, tmp_path):
  """Queries of one, of several and of no images, over all eleven."""
  texts = [
    {"text_id": 4, "text": "a dog", "image_ids": ["im3"]},
    {"text_id": 9, "text": "the cat", "image_ids": ["im1", "im5", "im3"]},
    {"text_id": 2, "text": "red", "image_ids": []},
  ]
  texts += [
    {"text_id": 20 + n, "text": "man on", "image_ids": [f"im{n}"]}
    for n in range(8)
  ]
  queries = read_query_texts(write_lines(tmp_path / "texts.jsonl", texts))

  def make(catalogue=None, queries=queries):
    settings = PoolSettings(
      texts="texts.jsonl", scores=str(tmp_path / "pool"), tile_items=TILE
    )
    pool = catalogue or catalogue_of(run)
    return PoolRetrieval(run, queries, pool, settings, parallel)

  return queries, make


def test_pool_retrieval(pool, dense):
  queries, make = pool
  retrieval = make()
  retrieval.score()
  found = retrieval.metrics()
  names = [f"im{n}" for n in range(IMAGES)]
  scores = dense([q.text for q in queries])
  right = np.array([[n in q.image_ids for n in names] for q in queries])

  def recall(scores, right, k):
    """Expected over random orders of ties: drawn, which hits converge to."""
    hits = []
    for row, good in zip(scores, right, strict=True):
      if good.any():
        first = np.argsort(-row, kind="stable")[:k]
        hits.append(good[first].any())
    return np.mean(hits)

  for k in (1, 5, 10):
    name = f"image_retrieval_recall@{k}"
    assert found["metrics"][name] == pytest.approx(recall(scores, right, k))
  mean = np.mean([recall(scores, right, k) for k in (1, 5, 10)])
  assert found["metrics"]["image_retrieval_mean_recall"] == pytest.approx(mean)
  assert (found["n_queries"], found["n_skipped"]) == (10, 1)
  assert found["n_image_queries"] == 8
  # Eight texts are the same: where their score is the best of an image's own
  # texts, the seven of the other images tie with it.
  own = [scores[right[:, n], n].max() for n in range(8)]
  tied = sum(best == scores[-1, n] for n, best in enumerate(own))
  assert found["n_ties"] == tied > 0
  for n in range(8, IMAGES):
    assert not right[:, n].any()


def test_a_pool_of_one_image_per_text_is_ordinary_retrieval(
  run, parallel, tmp_path, dense
):
  # As many texts as above.
  texts = [*TEXTS, "a dog", "red", "un runs"]
  names = ["im2", "im5", "im7", "im9"]
  images = [names[n % 4] for n in range(len(texts))]
  queries = read_query_texts(
    write_lines(
      tmp_path / "texts.jsonl",
      [
        {"text_id": n, "text": text, "image_ids": [image]}
        for n, (text, image) in enumerate(zip(texts, images, strict=True))
      ],
    )
  )
  settings = PoolSettings(
    texts="texts.jsonl", scores=str(tmp_path / "pool"), tile_items=TILE
  )
  store = run.config["input"]["store"]
  pool = Catalogue(store, max_regions=R, item_ids=names)
  retrieval = PoolRetrieval(run, queries, pool, settings, parallel)
  retrieval.score()
  wanted = retrieval_metrics(
    dense(texts, names), np.array([names.index(image) for image in images])
  )
  found = retrieval.metrics()
  for name, value in wanted.items():
    if name not in ("rsum", "n_ties"):
      assert found["metrics"][name] == pytest.approx(value), name
  assert found["n_ties"] == wanted["n_ties"]


def test_predictions(pool, tmp_path, dense):
  queries, make = pool
  retrieval = make()
  retrieval.score()
  paths = retrieval.write_predictions(tmp_path / "out")
  assert [path.name for path in paths] == [
    "text_to_image.jsonl",
    "text_to_image_output.json",
    "image_to_text.jsonl",
    "image_to_text_output.json",
  ]
  lines = [json.loads(line) for line in paths[0].read_text().splitlines()]
  assert [line["text_id"] for line in lines] == [q.text_id for q in queries]
  names = [f"im{n}" for n in range(IMAGES)]
  for line, row in zip(lines, dense([q.text for q in queries]), strict=True):
    assert line["image_ids"] == [names[n] for n in np.argsort(-row)[:10]]
  back = [json.loads(line) for line in paths[2].read_text().splitlines()]
  assert [line["image_id"] for line in back] == [f"im{n}" for n in range(8)]
  assert all(len(set(line["text_ids"])) == 10 for line in back)
  score = json.loads(paths[1].read_text())["scoreJson"]
  metrics = retrieval.metrics()["metrics"]
  assert score["r5"] == pytest.approx(100 * metrics["image_retrieval_recall@5"])


def test_images_outside_the_pool_are_named(pool, run):
  _, make = pool
  some = Catalogue(
    run.config["input"]["store"], max_regions=R, item_ids=["im0", "im1"]
  )
  with pytest.raises(ValueError, match=r"not in the pool of 2.*im3"):
    make(some)
