"""Tiles of scores: whole or not there; and the best items out of them."""

import numpy as np
import pytest

from interbert_jax.contract.errors import ConfigError
from interbert_jax.ranking.pool_ranks import (
  best_images,
  best_texts,
  image_to_text_ranks,
  text_to_image_ranks,
)
from interbert_jax.ranking.recommend import part_weights, rank_tiles
from interbert_jax.ranking.retrieval_metrics import rank_queries
from interbert_jax.ranking.score_tiles import CatalogueTiles
from interbert_jax.ranking.top_items import TopItems, id_ranks

T, I, N = 3, 10, 4
FACTS = {"checkpoint": "abc", "max_regions": 36}


def open_tiles(directory, *, channels=("match", "examples"), **options):
  return CatalogueTiles(
    directory,
    channels=channels,
    num_texts=T,
    num_items=I,
    **{"tile_items": N, "facts": FACTS, **options},
  )


def fill(tiles, scores_HTI):
  for tile in range(len(tiles)):
    items = tiles.items(tile)
    tiles.write(tile, scores_HTI[..., items.start : items.stop])
  return tiles


@pytest.fixture(scope="module")
def scores():
  return np.random.default_rng(0).normal(size=(2, T, I)).astype(np.float32)


def test_what_is_written_is_read(tmp_path, scores):
  tiles = open_tiles(tmp_path / "new" / "scores")
  assert [tiles.items(n) for n in range(len(tiles))] == [
    range(0, 4),
    range(4, 8),
    range(8, 10),
  ]
  assert tiles.missing() == [0, 1, 2]
  fill(tiles, scores)
  again = open_tiles(tmp_path / "new" / "scores")
  assert again.missing() == []
  found = np.concatenate([part for _, part in again.all()], axis=2)
  np.testing.assert_array_equal(found, scores)
  assert not list((tmp_path / "new" / "scores").glob(".*"))  # no leftovers


@pytest.mark.parametrize(
  "damage",
  [
    lambda raw: raw[:-4],
    lambda raw: raw[:20],
    lambda raw: b"",
    lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]),
    lambda raw: raw + b"\0\0\0\0",
    lambda raw: b"0" + raw[1:] if raw[:1] != b"0" else b"1" + raw[1:],
  ],
)
def test_a_tile_that_is_not_whole_is_missing(tmp_path, scores, damage):
  tiles = fill(open_tiles(tmp_path), scores)
  path = next(tmp_path.glob("tile-000001*"))
  path.write_bytes(damage(path.read_bytes()))
  assert tiles.missing() == [1]
  with pytest.raises(ConfigError, match="tile-000001.*scores it again"):
    list(tiles.all())


def test_a_kill_while_writing_leaves_no_tile(tmp_path, scores, monkeypatch):
  tiles = open_tiles(tmp_path)

  def dies(*_):
    raise KeyboardInterrupt

  monkeypatch.setattr("os.replace", dies)
  with pytest.raises(KeyboardInterrupt):
    tiles.write(0, scores[..., :N])
  assert tiles.missing() == [0, 1, 2]
  monkeypatch.undo()
  assert open_tiles(tmp_path).missing() == [0, 1, 2]


def test_other_facts_are_refused_or_thrown_away(tmp_path, scores):
  fill(open_tiles(tmp_path), scores)
  for change, words in (
    ({"facts": {**FACTS, "checkpoint": "def"}}, "checkpoint is 'def', scored"),
    ({"facts": {"max_regions": 36}}, "checkpoint is None"),
    ({"tile_items": 5}, "tile_items is 5, scored was 4"),
    ({"channels": ("match",)}, "channels is"),
  ):
    with pytest.raises(ConfigError, match=f"{words}.*--restart"):
      open_tiles(tmp_path, **change)
  assert open_tiles(tmp_path).missing() == []  # nothing was lost
  other = {"facts": {**FACTS, "checkpoint": "def"}}
  assert open_tiles(tmp_path, **other, restart=True).missing() == [0, 1, 2]
  assert open_tiles(tmp_path, **other).missing() == [0, 1, 2]
  # Restarting throws scores of the same facts away too.
  fill(open_tiles(tmp_path, **other), scores)
  assert open_tiles(tmp_path, **other, restart=True).missing() == [0, 1, 2]


def test_a_tile_of_other_facts_is_never_read(tmp_path, scores):
  """As when somebody copies tiles together."""
  fill(open_tiles(tmp_path / "a"), scores)
  other = open_tiles(tmp_path / "b", facts={**FACTS, "checkpoint": "def"})
  for path in (tmp_path / "a").glob("tile-*"):
    (tmp_path / "b" / path.name).write_bytes(path.read_bytes())
  assert other.missing() == [0, 1, 2]


def test_a_directory_of_other_things_is_refused(tmp_path):
  (tmp_path / "thesis.txt").write_text("three years")
  for restart in (False, True):
    with pytest.raises(ConfigError, match="no directory of scores"):
      open_tiles(tmp_path, restart=restart)
  assert (tmp_path / "thesis.txt").exists()


def test_top_items_are_the_sorted_ones_in_any_order_of_parts():
  rng = np.random.default_rng(2)
  scores = rng.integers(0, 4, (5, 23)).astype(np.float64)  # many ties
  ids = [f"{n}" for n in rng.permutation(23)]
  ranks = id_ranks(ids)
  parts = [range(0, 7), range(7, 9), range(9, 23)]
  wanted = [
    sorted(range(23), key=lambda n: (-row[n], ids[n]))[:6] for row in scores
  ]
  for order in (parts, parts[::-1]):
    best = TopItems(5, 6, ranks)
    for part in order:
      best.add(part, scores[:, part.start : part.stop])
    assert [items.tolist() for items, _ in best.lists()] == wanted
  whole = TopItems(5, 50, ranks)
  scores[0, 3] = -np.inf
  whole.add(range(23), scores)
  assert [len(items) for items, _ in whole.lists()] == [22, 23, 23, 23, 23]


def test_ranking_leaves_items_out(tmp_path, scores):
  tiles = fill(open_tiles(tmp_path), scores)
  ids = [f"i{n}" for n in range(I)]
  weights = part_weights(
    tiles.channels,
    {"a": True, "b": False, "c": True},
    example_weight=0.25,
    title_weight=0.0,
  )
  np.testing.assert_array_equal(weights, [[0.75, 1, 0.75], [0.25, 0, 0.25]])
  best = int(np.argmax(scores[0, 1]))
  found = rank_tiles(tiles, ids, weights_HT=weights, excluded={1: [best]}, k=I)
  assert len(found[0][0]) == I
  assert found[1][0].tolist() == [
    n for n in np.argsort(-scores[0, 1]) if n != best
  ]


def test_scores_that_are_no_numbers_are_refused(tmp_path, scores):
  bad = scores.copy()
  bad[0, 2, 9] = np.inf
  tiles = fill(open_tiles(tmp_path), bad)
  with pytest.raises(ConfigError, match="scores are not finite"):
    rank_tiles(tiles, "a" * I, weights_HT=np.ones((2, T)), excluded={}, k=1)


@pytest.fixture(scope="module")
def pool():
  """Scores with ties of six texts and ten images, and what is relevant."""
  rng = np.random.default_rng(4)
  scores_TI = rng.integers(0, 5, (6, I)).astype(np.float32)
  relevant_TI = rng.random((6, I)) < 0.25
  relevant_TI[2] = False  # nobody knows of text 2
  relevant_TI[0, 0] = relevant_TI[5, 9] = True

  def tiles():
    for start in range(0, I, N):
      yield (
        range(start, min(start + N, I)),
        scores_TI[:, start : start + N],
      )

  return tiles, scores_TI, relevant_TI


def test_ranks_in_tiles_are_those_of_the_whole_matrix(pool):
  tiles, scores_TI, relevant_TI = pool
  pairs = np.nonzero(relevant_TI)
  for found, scores, relevant in (
    (text_to_image_ranks(tiles, *pairs, 6), scores_TI, relevant_TI),
    (image_to_text_ranks(tiles, *pairs, 6), scores_TI.T, relevant_TI.T),
  ):
    kept = relevant.any(axis=1)
    assert 0 < kept.sum() < len(kept)
    for got, want in zip(
      found, rank_queries(scores[kept], relevant[kept]), strict=True
    ):
      np.testing.assert_array_equal(got, want)


def test_best_of_a_pool(pool):
  tiles, scores_TI, _ = pool
  ids = [f"{n}" for n in range(9, 9 + I)]  # "9" is behind "10"
  for row, found in zip(
    scores_TI, best_images(tiles, 6, 3, id_ranks(ids)), strict=True
  ):
    wanted = sorted(range(I), key=lambda n: (-row[n], ids[n]))[:3]
    assert found.tolist() == wanted
  asked = [8, 1, 4]
  for image, found in zip(
    asked, best_texts(tiles, asked, 2, np.arange(6)), strict=True
  ):
    column = scores_TI[:, image]
    wanted = sorted(range(6), key=lambda n: (-column[n], n))[:2]
    assert found.tolist() == wanted
