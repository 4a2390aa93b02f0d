"""Mined negatives against brute force, their files, and their use in pairs."""

import json

import numpy as np
import pytest

from input_pipeline import mine_negatives
from input_pipeline.negatives import near_images, similar_captions
from input_pipeline.negatives.similar_captions import (
  ANALYZERS,
  SimilarCaptions,
  mine_captions,
)
from input_pipeline.negatives.table import open_table, write_table
from input_pipeline.store.region_store import RegionStore
from interbert_jax.contract.errors import ConfigError, DataError
from tests.support.tiny_data import (
  VOCAB,
  build,
  caption_line,
  flip,
  make_record,
  write_lines,
  write_tiny_store,
  write_vocab,
)

pytest.importorskip("sparse_dot_topn")
WORDS = VOCAB[5:-2]
IMAGES, PER_IMAGE = 40, 3


def texts_of(seed=0):
  rng = np.random.default_rng(seed)
  return [
    " ".join(rng.choice(WORDS, rng.integers(2, 7)))
    for _ in range(IMAGES * PER_IMAGE)
  ]


OWNERS = np.repeat(np.arange(IMAGES, dtype=np.int32), PER_IMAGE)


def brute_force(texts, owners, rules):
  """[N, N] similarities; those that may be no negatives are 0."""
  from sklearn.feature_extraction.text import TfidfVectorizer

  rows = TfidfVectorizer(**ANALYZERS[rules.analyzer]).fit_transform(texts)
  similar = (rows @ rows.T).toarray()
  similar[owners[:, None] == owners] = 0
  similar[(similar >= rules.max_similarity - 1e-6)] = 0
  similar[similar <= rules.min_similarity + 1e-6] = 0
  return similar


def mined(texts, owners, rules, count=30):
  blocks = list(mine_captions(texts, owners, rules, per_caption=count))
  return (np.concatenate(part) for part in zip(*blocks, strict=True))


@pytest.mark.parametrize("block", [7, 4096])
@pytest.mark.parametrize("per_caption", [1, 4, 200])
def test_captions_are_those_of_brute_force(per_caption, block, monkeypatch):
  monkeypatch.setattr(similar_captions, "BLOCK", block)
  # Similarities that many captions share: the first query is too short.
  texts = texts_of()
  rules = SimilarCaptions()
  candidates, scores = mined(texts, OWNERS, rules, per_caption)
  assert candidates.shape == (len(texts), per_caption)
  wanted = brute_force(texts, OWNERS, rules)
  for row in range(len(texts)):
    count = min(per_caption, int((wanted[row] > 0).sum()))
    found = candidates[row][candidates[row] >= 0]
    assert len(found) == len(set(found.tolist())) == count
    assert (candidates[row, count:] == -1).all()
    best = np.sort(wanted[row])[::-1][:count]
    np.testing.assert_allclose(scores[row, :count], best, atol=1e-5)
    np.testing.assert_allclose(wanted[row][found], best, atol=1e-5)


def test_captions_that_repeat_do_not_hide_the_hard_ones():
  """More true ones than are looked at first."""
  texts = ["a dog runs on the red"] * 50 + ["a dog sits on man the cat"] * 3
  owners = np.arange(len(texts))
  rules = SimilarCaptions(max_similarity=0.99)
  candidates, _ = mined(texts, owners, rules, 3)
  assert sorted(candidates[0].tolist()) == [50, 51, 52]


def test_a_pool_bounds_the_comparison():
  texts = texts_of()
  rules = SimilarCaptions(pool=20, seed=3)
  candidates, _ = mined(texts, OWNERS, rules, 4)
  assert len(np.unique(candidates[candidates >= 0])) <= 20
  again, _ = mined(texts, OWNERS, rules, 4)
  np.testing.assert_array_equal(candidates, again)


def test_chinese_titles_by_characters():
  texts = ["红色连衣裙女士夏季", "红色连衣裙男士冬天", "跑鞋新款", "手机壳透明"]
  rules = SimilarCaptions(analyzer="char", max_similarity=0.9)
  candidates, _ = mined(texts, np.arange(4), rules, 2)
  assert candidates[0, 0] == 1
  assert (candidates[3] == -1).all()


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"analyzer": "subword"}, "is 'subword'; wanted one of word, char"),
    ({"max_similarity": 0.01}, "min_similarity < max_similarity"),
    ({"threads": 0}, "threads is 0; wanted a whole number, 1 or more"),
    ({"pool": 1}, "pool is 1; wanted a whole number, 2 or more"),
  ],
)
def test_rules_that_make_no_sense(options, words):
  with pytest.raises(ConfigError, match=words):
    SimilarCaptions(**options)


# Images


def means(count=150, width=6):
  return np.random.default_rng(0).normal(size=(count, width)).astype("f4")


def brute_neighbours(points, count):
  distance = np.linalg.norm(points[:, None] - points[None], axis=2)
  np.fill_diagonal(distance, np.inf)
  order = np.argsort(distance, axis=1)[:, :count]
  return order, np.take_along_axis(distance, order, axis=1)


def mean_overlap(found, wanted):
  """The mean share of a row's numbers that are in the other's row too."""
  pairs = zip(found, wanted, strict=True)
  return np.mean([len(np.intersect1d(a, b)) / len(a) for a, b in pairs])


@pytest.mark.parametrize("count", [1, 10, 149, 500])
def test_neighbours_are_those_of_brute_force(count, monkeypatch):
  monkeypatch.setattr(near_images, "_QUERIES", 32)
  monkeypatch.setattr(near_images, "_COLUMNS", 50)
  points = means()
  blocks = near_images.exact_neighbours(points, np.arange(150), count)
  names, distances = (np.concatenate(p) for p in zip(*blocks, strict=True))
  wanted, wanted_distances = brute_neighbours(points, min(count, 149))
  np.testing.assert_array_equal(names, wanted)
  np.testing.assert_allclose(distances, wanted_distances, atol=1e-3)


def test_the_recall_of_approximate_neighbours_is_true():
  pytest.importorskip("faiss")
  points = means(2000, 16)
  found = {}
  for probes in (1, 10_000):
    blocks = near_images.approximate_neighbours(points, 10, probes=probes)
    names = np.concatenate([n for n, _ in blocks])
    assert not (names == np.arange(2000)[:, None]).any()
    wanted, _ = brute_neighbours(points, 10)
    by_hand = mean_overlap(names, wanted)
    found[probes] = near_images.recall(points, names)
    assert found[probes] == pytest.approx(by_hand, abs=0.03)  # of a sample
  assert found[1] < 0.9 < 0.99 < found[10_000]


# Files


def write_some(path, candidates=((1, 2), (0, -1), (0, 1)), **changes):
  candidates = np.array(candidates, np.int32)
  about = {"kind": "captions", "fingerprint": "f" * 64, **changes}
  return write_table(
    path,
    [(candidates[:2], np.ones((2, 2))), (candidates[2:], np.ones((1, 2)))],
    items=3,
    per_item=2,
    about={"analyzer": "word"},
    **about,
  )


def test_a_table_is_read_as_written(tmp_path):
  table = write_some(tmp_path / "table")
  table.verify()
  assert table.candidates.tolist() == [[1, 2], [0, -1], [0, 1]]
  assert table.counts.tolist() == [2, 1, 2]
  assert table.about["candidates_per_item"] == pytest.approx(5 / 3)
  table.check("captions", "f" * 64, np.arange(3))
  with pytest.raises(DataError, match="exists already"):
    write_some(tmp_path / "table")


def test_an_interrupted_table_is_none(tmp_path):
  def blocks():
    yield np.zeros((1, 2), np.int32), np.zeros((1, 2))
    raise KeyboardInterrupt

  about = {"kind": "captions", "fingerprint": "f", "about": {}}
  with pytest.raises(KeyboardInterrupt):
    write_table(tmp_path / "table", blocks(), items=3, per_item=2, **about)
  assert list(tmp_path.iterdir()) == []
  with pytest.raises(DataError, match="no negatives: it has no about.json"):
    open_table(tmp_path / "table")


def test_damage_is_found(tmp_path):
  table = write_some(tmp_path / "table")
  path = tmp_path / "table/candidates.npy"
  flip(path)
  with pytest.raises(DataError, match="candidates.npy: found crc32"):
    open_table(table.directory).verify()
  path.write_bytes(path.read_bytes()[:-4])
  with pytest.raises(DataError, match="candidates.npy: not readable"):
    open_table(table.directory)
  (tmp_path / "table/about.json").write_text('{"version": 1}')
  with pytest.raises(DataError, match="about.json: not readable"):
    open_table(table.directory)


@pytest.mark.parametrize(
  ("kind", "fingerprint", "owners", "words"),
  [
    ("images", "f" * 64, [0, 1, 2], "field kind"),
    ("captions", "0" * 64, [0, 1, 2], "negatives of other captions"),
    ("captions", "f" * 64, [0, 1, 1], "candidate 1 of item 2, wanted an item"),
  ],
)
def test_tables_of_other_items(kind, fingerprint, owners, words, tmp_path):
  table = write_some(tmp_path / "table")
  with pytest.raises(DataError, match=words):
    table.check(kind, fingerprint, np.array(owners))


def test_candidates_beyond_the_items(tmp_path):
  table = write_some(tmp_path / "table", [(1, 2), (0, -1), (0, 3)])
  with pytest.raises(DataError, match="candidate 3 of item 2"):
    table.check("captions", "f" * 64, np.arange(3))


# Pairs


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
  root = tmp_path_factory.mktemp("negatives")
  records = [make_record(f"im{i}", seed=i) for i in range(IMAGES)]
  write_tiny_store(root / "store", records)
  texts = texts_of()
  lines = [
    caption_line(f"im{i}", *texts[i * PER_IMAGE : (i + 1) * PER_IMAGE])
    for i in range(IMAGES)
  ]
  lines[0]["captions"][0] = "<b>a dog</b> runs on the red"
  return {
    "store": root / "store",
    "annotations": write_lines(root / "captions.jsonl", lines),
    "vocab": write_vocab(root / "vocab.txt"),
    "split": "train",
    "max_regions": 4,
    "max_text_length": 8,
  }


def mine(paths, output, *flags):
  return mine_negatives.main(
    [
      f"--store={paths['store']}",
      f"--annotations={paths['annotations']}",
      f"--output={output}",
      *flags,
    ]
  )


def make_data(paths, **options):
  return build("pretrain", **paths, **options)


def test_the_command_and_training_with_what_it_found(paths, tmp_path, capsys):
  page = tmp_path / "pages/page.html"
  assert mine(paths, tmp_path / "hard", "--per_item=5", f"--page={page}") == 0
  assert "120 captions, " in capsys.readouterr().out
  text = page.read_text("utf-8")
  assert text.count("<article>") == 50
  assert "<b>" not in text
  options = {"mismatch_prob": 1.0, "hard_negative_prob": 1.0}
  data = make_data(paths, negatives=tmp_path / "hard", **options)
  plain = make_data(paths, **options)
  assert data.info["fingerprint"] != plain.info["fingerprint"]
  table = open_table(tmp_path / "hard")
  batch = next(data.train_batches(0, 1, batch_size=32))
  for ids, length, example in zip(
    batch["text_ids"], batch["text_length"], batch["example_id"], strict=True
  ):
    pieces = tuple(ids[1 : length - 1])
    rows = table.candidates[example]
    texts = [data.captions.texts[row] for row in rows if row >= 0]
    if texts:
      table_of = data.tokenizer.encode(texts)
      packed = data.tokenizer.pack(
        table_of, np.arange(len(texts)), max_length=8
      )
      assert pieces in {
        tuple(row[1 : n - 1]) for row, n in zip(*packed.values(), strict=True)
      }


def test_negatives_of_other_captions_are_refused(paths, tmp_path):
  assert mine(paths, tmp_path / "hard") == 0
  fewer = {"captions": {"captions_per_image": 2}}
  with pytest.raises(DataError, match="negatives of other captions"):
    make_data(paths, negatives=tmp_path / "hard", **fewer)
  with pytest.raises(ConfigError, match="hard_negative_prob is 2.0; wanted 0 "):
    make_data(paths, negatives=tmp_path / "hard", hard_negative_prob=2.0)


@pytest.mark.parametrize("flags", [(), ("--approximate", "--probes=100")])
def test_the_command_for_images(paths, tmp_path, flags, capsys):
  if flags:
    pytest.importorskip("faiss")
  assert mine(paths, tmp_path / "near", "--kind=images", *flags) == 0
  table = open_table(tmp_path / "near")
  store = RegionStore(paths["store"])
  points = np.stack(
    [r["features"].astype("f4").mean(0) for r in store.read(range(IMAGES))]
  )
  wanted, _ = brute_neighbours(points, IMAGES - 1)
  # float16 rounds in the approximate index.
  found = table.candidates[:, :5]
  same = mean_overlap(found, wanted[:, :5])
  assert same == 1 if not flags else same > 0.95
  about = json.loads((tmp_path / "near/about.json").read_text())
  assert about["kind"] == "images"
  assert ("recall" in about) == bool(flags)
  assert list(tmp_path.glob(".means-*")) == []


def test_what_the_command_refuses(paths, tmp_path, capsys):
  (tmp_path / "hard").mkdir()
  assert mine(paths, tmp_path / "hard") == 2
  assert "exists already" in capsys.readouterr().err
  assert mine(paths, tmp_path / "x", "--split=dev") == 2
  assert "no split 'dev'" in capsys.readouterr().err
  with pytest.raises(SystemExit, match="2"):
    mine(paths, tmp_path / "x", "--max_similarity=0")
  assert "min_similarity < max_similarity" in capsys.readouterr().err
  assert not (tmp_path / "x").exists()
