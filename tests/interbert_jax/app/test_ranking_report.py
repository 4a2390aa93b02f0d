"""The report of a ranking: joined by ids, baselines beside, nothing dropped."""

import numpy as np
import pytest

from interbert_jax.app.ranking.ranking_file import RankedTopic
from interbert_jax.app.ranking.ranking_report import (
  judge,
  popularity_lists,
  report,
)
from interbert_jax.contract.errors import ConfigError

ITEMS = ["a", "b", "c", "d", "e"]
TOPICS = [
  RankedTopic("t1", "", ("a", "b", "c", "d", "e"), ()),
  RankedTopic("t2", "", ("e", "d", "c"), (), excluded=("a", "b")),
  RankedTopic("t3", "", ("c", "a", "b", "d", "e"), ()),
]
RELEVANCE = {
  "t1": {"b": 1.0, "c": 2.0},
  "t2": {"d": 1.0, "a": 1.0, "x": 1.0},
}


def judged(relevance=RELEVANCE, topics=TOPICS):
  return judge(topics, relevance, ITEMS, ranking="r.jsonl", log="log.tsv")


def test_report_by_hand():
  found = report(judged(), cuts=(1, 2), samples=50)
  # t1 has b at place 2; t2 its d at place 2 of 3; t3 has nothing relevant.
  assert found["metrics"]["hit@1"] == 0
  assert found["metrics"]["hit@2"] == 1
  assert found["metrics"]["recall@2"] == pytest.approx((1 / 2 + 1) / 2)
  assert found["metrics"]["mrr@2"] == 1 / 2
  assert found["metrics"]["mrr"] == 1 / 2  # the lists hold all they may
  assert found["metrics"]["coverage@1"] == 3 / 5
  assert (found["n_queries"], found["n_skipped"]) == (2, 1)
  assert found["n_relevant_outside"] == 1  # x
  assert found["n_relevant_excluded"] == 1  # a of t2
  assert found["pool_size"] == (5 + 3) / 2
  random = found["baselines"]["random"]
  assert random["hit@1"] == pytest.approx((2 / 5 + 1 / 3) / 2)
  assert found["intervals_95"]["hit@2"] == (1, 1)
  assert "graded_ndcg@1" in found["metrics"]
  assert not any("diversity" in name for name in found["metrics"])
  assert "intervals_95" in report(judged(), cuts=(1,), samples=0)


def test_diversity_is_of_the_listed_items():
  vectors = {item: np.eye(5)[n] for n, item in enumerate(ITEMS)}
  found = report(judged(), cuts=(2,), vectors=vectors, samples=0)
  assert found["metrics"]["diversity@2"] == 1


def test_popularity():
  # Others' relevance: t1 has only t2's d, t2 has b and c of t1, but no b.
  lists = popularity_lists(judged(), 2, None)
  assert lists == [["d", "a"], ["c", "d"], ["c", "b"]]
  history = {"other": {"e": 5.0}, "t1": {"b": 1.0}}
  lists = popularity_lists(judged(), 2, history)
  assert lists == [["e", "b"], ["e", "c"], ["e", "b"]]
  found = report(judged(), cuts=(2,), history=history, samples=0)
  assert found["baselines"]["popularity"]["hit@2"] == 1 / 2
  assert found["baselines"]["popularity"]["coverage@2"] == 3 / 5


def test_what_cannot_be_joined_is_refused():
  with pytest.raises(
    ValueError, match=r"1 topics of log.tsv are not .*: t9|t9"
  ):
    judged({**RELEVANCE, "t9": {"a": 1.0}})
  strange = TOPICS[0]._replace(item_ids=("a", "q"))
  with pytest.raises(ValueError, match="topic t1: found 'q', which is not"):
    judged(topics=[strange, *TOPICS[1:]])
  with pytest.raises(ConfigError, match="topic t1 has a list of 2 items"):
    short = TOPICS[0]._replace(item_ids=("a", "b"))
    report(judged(topics=[short, *TOPICS[1:]]), cuts=(1, 3))
  with pytest.raises(ConfigError, match="numbers from 1 on"):
    report(judged(), cuts=(0,))
