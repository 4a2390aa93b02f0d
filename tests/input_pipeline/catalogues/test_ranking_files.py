"""Topics, items, relevance, rankings, submissions: read, written, refused."""

import csv
import json

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from input_pipeline.annotations.chinese_clip import read_query_texts
from input_pipeline.annotations.kdd_queries import KddQuery
from input_pipeline.catalogues.item_list import read_items
from input_pipeline.catalogues.relevance_log import count_items, read_relevance
from input_pipeline.catalogues.topics import read_topics, topics_sha256
from interbert_jax.app.ranking import chinese_clip, kdd
from interbert_jax.app.ranking.ranking_file import (
  RankedTopic,
  read_about,
  read_ranking,
  write_ranking,
)
from interbert_jax.app.ranking.settings import RecommendSettings
from interbert_jax.contract.errors import ConfigError, DataError
from tests.support.tiny_data import write_lines


def write(path, text):
  path.write_bytes(text.encode())
  return path


def test_topics(tmp_path):
  path = write_lines(
    tmp_path / "topics.jsonl",
    [
      {"topic_id": 7, "text": "夏季连衣裙", "examples": [3, "x", 3]},
      {"topic_id": "b", "text": "a dog"},
    ],
  )
  first, second = read_topics(path)
  assert first[:3] == ("7", "夏季连衣裙", ("3", "x"))
  assert second[:3] == ("b", "a dog", ())
  changed = [first, second._replace(examples=("y",))]
  assert topics_sha256(changed) != topics_sha256([first, second])


@pytest.mark.parametrize(
  ("line", "words"),
  [
    ({"topic_id": "a", "text": "x"}, ":2: field topic_id: found 'a' again"),
    ({"topic_id": "b", "text": "  "}, ":2: field text: found a blank phrase"),
    ({"topic_id": "b"}, ":2: field text: missing"),
    ({"text": "x"}, ":2: field topic_id: missing"),
    (
      {"topic_id": "b", "text": "x", "examples": "im1"},
      ":2: field examples: found 'im1', wanted a list of item ids",
    ),
  ],
)
def test_bad_topics_are_refused(tmp_path, line, words):
  path = write_lines(
    tmp_path / "topics.jsonl", [{"topic_id": "a", "text": "y"}, line]
  )
  with pytest.raises(DataError, match=words):
    read_topics(path)


def test_items(tmp_path):
  path = write_lines(
    tmp_path / "items.jsonl",
    [{"item_id": 5, "title": "a hat"}, {"item_id": "x"}],
  )
  assert read_items(path) == [("5", "a hat"), ("x", None)]
  images = write(tmp_path / "valid_imgs.tsv", "12\tAAAA\n7\tBBBB\n")
  assert [item.item_id for item in read_items(images)] == ["12", "7"]
  with pytest.raises(DataError, match=r":3: field item_id: found '12' again"):
    read_items(write(images, "12\n7\n12\n"))
  with pytest.raises(DataError, match="field title: found 3, wanted text"):
    read_items(write_lines(path, [{"item_id": 5, "title": 3}]))
  with pytest.raises(DataError, match="no items"):
    read_items(write(images, ""))


def test_labels_and_clicks(tmp_path):
  rows = "a\tx\t2\na\ty\t0\nb\tx\t0\n"
  table = write(tmp_path / "r.tsv", rows)
  wanted = {"a": {"x": 2.0}, "b": {}}
  assert read_relevance(table) == wanted
  named = "topic_id\titem_id\trelevance\n" + rows
  assert read_relevance(write(table, named)) == wanted
  lines = [
    {"topic_id": "a", "item_id": "x", "relevance": 2},
    {"topic_id": "a", "item_id": "y", "relevance": 0},
    {"topic_id": "b", "item_id": "x", "relevance": 0},
  ]
  assert read_relevance(write_lines(tmp_path / "r.jsonl", lines)) == wanted
  assert read_relevance(write(table, "a\tx\na\ty\n")) == {"a": {"x": 1, "y": 1}}

  log = (
    "topic_id\titem_id\tclicks\n"
    + "a\tx\t1\na\tx\t0\na\tx\t1\na\ty\t1\nb\tx\t0\n"
  )
  clicks = write(tmp_path / "clicks.tsv", log)
  read = read_relevance(clicks, kind="clicks")
  assert read == {"a": {"x": 1, "y": 1}, "b": {}}
  often = read_relevance(clicks, kind="clicks", min_clicks=2)
  assert often == {"a": {"x": 1}, "b": {}}
  with pytest.raises(DataError, match="read as clicks"):
    read_relevance(clicks)
  assert count_items({"a": {"x": 2.0, "y": 1.0}, "b": {"x": 1.0}}) == {
    "x": 3,
    "y": 1,
  }


@pytest.mark.parametrize(
  ("text", "words"),
  [
    ("a\tx\t-1\n", ":1: field relevance: found '-1', wanted a number from 0"),
    ("a\tx\tnan\n", "found 'nan'"),
    ("a\tx\tyes\n", "found 'yes'"),
    ("a x 1\n", "separated by tabs"),
    ("topic_id\titem_id\tscore\n", "found the column 'score'"),
    ("", "no lines"),
  ],
)
def test_bad_relevance_is_refused(tmp_path, text, words):
  with pytest.raises(DataError, match=words):
    read_relevance(write(tmp_path / "r.tsv", text))


TOPICS = [
  RankedTopic("a", 'a, "dog"', ("x", "y"), (0.1 + 0.2, -1.0), ("z",)),
  RankedTopic("b", "猫", ("y",), (3.5,)),
]


def test_rankings_are_read_as_they_were_written(tmp_path):
  path = tmp_path / "ranking.jsonl"
  write_ranking(path, TOPICS, {"step": 3})
  assert read_ranking(path) == TOPICS
  assert read_about(path) == {"step": 3}
  table = tmp_path / "ranking.csv"
  write_ranking(table, TOPICS, {})
  rows = list(csv.reader(table.read_text().splitlines()))
  assert rows[0] == ["topic_id", "rank", "item_id", "score"]
  assert rows[1] == ["a", "1", "x", repr(0.1 + 0.2)]
  assert [(t.topic_id, t.item_ids) for t in read_ranking(table)] == [
    ("a", ("x", "y")),
    ("b", ("y",)),
  ]
  with pytest.raises(ConfigError, match="ends in .jsonl or .csv"):
    RecommendSettings(topics="t.jsonl", output="ranking.txt")


def test_bad_rankings_are_refused(tmp_path):
  path = tmp_path / "r.jsonl"
  line = {"topic_id": "a", "item_ids": ["x", "x"]}
  with pytest.raises(DataError, match=r":1: record topic a: found 'x' twice"):
    read_ranking(write_lines(path, [line]))
  line = {"topic_id": "a", "item_ids": ["x"]}
  with pytest.raises(DataError, match=":2: .*found 'a' again"):
    read_ranking(write_lines(path, [line, line]))
  head = "topic_id,rank,item_id\n"
  with pytest.raises(DataError, match="found ranks 1, 3, wanted 1, 2"):
    read_ranking(write(tmp_path / "r.csv", head + "a,3,x\na,1,y\n"))
  with pytest.raises(DataError, match="header without item_id"):
    read_ranking(write(tmp_path / "r.csv", "topic_id,rank\na,1\n"))


QUERIES = [
  KddQuery("1", "a dog", tuple("123456"), ("2", "9")),
  KddQuery("2", "a cat", tuple("345678"), ()),
]
LISTS = {"1": list("213456"), "2": list("876543")}


def test_submission(tmp_path):
  path = kdd.write_submission(tmp_path / "s.csv", LISTS, QUERIES)
  assert path.read_text() == (
    "query-id,product1,product2,product3,product4,product5\n"
    "1,2,1,3,4,5\n"
    "2,8,7,6,5,4\n"
  )
  # A query without right products scores 0; product 9 cannot be found.
  first = ndcg_score([[1, 0, 0, 0, 0, 1]], [[6, 5, 4, 3, 2, 0]], k=5)
  found = kdd.official_ndcg(LISTS, QUERIES)
  assert found == pytest.approx(first / 2)
  # A query that the file of answers lacks does not count.
  more = KddQuery("3", "a man", tuple("345678"), None)
  lists = {**LISTS, "3": list("876543")}
  assert kdd.official_ndcg(lists, [*QUERIES, more]) == found


@pytest.mark.parametrize(
  ("items", "words"),
  [
    ("2134", "found 4 products, wanted 5"),
    ("21344", "five different"),
    ("2134x", "found product 'x', wanted ids of digits"),
    ("2134²", "wanted ids of digits"),
  ],
)
def test_what_the_official_script_refuses(tmp_path, items, words):
  path = tmp_path / "s.csv"
  with pytest.raises(DataError, match=f"query 1: .*{words}"):
    kdd.write_submission(path, {**LISTS, "1": items}, QUERIES)
  assert not path.exists()
  query = QUERIES[0]
  short = KddQuery("1", query.query, tuple(items), ())
  with pytest.raises(DataError, match=words):
    kdd.check_candidates([short], file="valid.tsv")


def test_missing_queries_are_refused():
  with pytest.raises(DataError, match="query 2: missing"):
    kdd.check_submission({"1": "12345"}, QUERIES, file="s.csv")


def test_query_texts(tmp_path):
  path = write_lines(
    tmp_path / "valid_texts.jsonl",
    [
      {"text_id": 1, "text": "红色连衣裙", "image_ids": [7, 8, 7]},
      {"text_id": "b", "text": "包"},
    ],
  )
  assert read_query_texts(path) == [
    (1, "红色连衣裙", ("7", "8")),
    ("b", "包", ()),
  ]
  for line, words in (
    ({"text_id": 1, "text": "x"}, "found 1 again"),
    ({"text_id": True, "text": "x"}, "found True, wanted an id"),
    ({"text_id": 2, "text": " "}, "found a blank text"),
    ({"text_id": 2, "text": "x", "image_ids": "7"}, "wanted a list of ids"),
  ):
    with pytest.raises(DataError, match=f":2: .*{words}"):
      read_query_texts(write_lines(path, [{"text_id": 1, "text": "y"}, line]))


def test_predictions_of_chinese_clip(tmp_path):
  ids = [str(n) for n in range(20)]
  predictions = {1: ids[:10], 2: ids[5:15], 3: ids[10:]}
  path = chinese_clip.write_predictions(
    tmp_path / "p.jsonl", "text_to_image", predictions
  )
  lines = [json.loads(line) for line in path.read_text().splitlines()]
  assert lines[1] == {"text_id": 2, "image_ids": list(range(5, 15))}
  assert chinese_clip.plain_id("007") == "007"
  # Text 1 is right at place 1, text 2 at 4 and 10, text 3 nowhere.
  right = {1: ["0"], 2: ["8", "14"], 3: ["1"]}
  output = chinese_clip.scorer_output(predictions, right)
  assert output["success"] is True
  third = 100 / 3
  assert output["scoreJson"] == pytest.approx(
    {
      "score": (third + 4 * third) / 3,
      "mean_recall": (third + 4 * third) / 3,
      "r1": third,
      "r5": 2 * third,
      "r10": 2 * third,
    }
  )
  assert output["score"] == output["scoreJson"]["score"]
  for bad in (ids[:9], [*ids[:9], "0"]):
    with pytest.raises(DataError, match="text_id 1: found 9 different ids"):
      chinese_clip.write_predictions(
        tmp_path / "q.jsonl", "text_to_image", {1: bad}
      )


def test_output_is_percent_of_a_mean():
  predictions = {n: [str(k) for k in range(10)] for n in range(4)}
  right = {0: ["0"], 1: ["4"], 2: ["9"], 3: ["x"]}
  found = chinese_clip.scorer_output(predictions, right)["scoreJson"]
  assert (found["r1"], found["r5"], found["r10"]) == (25, 50, 75)
  assert found["mean_recall"] == np.mean([25, 50, 75])
