"""The commands that rank: recommend, eval_recommendation, eval_kdd, MUGE.

As commands, on tiny files; what they compute is tested in test_recommendation.
"""

import csv
import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.support.result_schema import read_result
from tests.support.scripts import run_script
from tests.support.tiny_data import write_lines
from tests.support.tiny_run import write_kdd, write_run

IMAGES = 11
TOPICS = [
  {"topic_id": "t1", "text": "a dog"},
  {"topic_id": "t2", "text": "the cat runs", "examples": ["im3", "im6"]},
]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  return write_run(tmp_path_factory.mktemp("ranking"), images=IMAGES)


def test_topics_are_ranked_and_judged(workdir):
  topics = write_lines(workdir / "topics.jsonl", TOPICS)
  ranking = workdir / "ranking.jsonl"
  told = run_script(
    "recommend.py",
    f"--workdir={workdir}",
    f"--topics={topics}",
    f"--output={ranking}",
    "--top_k=9",
  ).stdout
  assert told.splitlines()[-1] == str(ranking)
  rows = [json.loads(line) for line in ranking.read_text().splitlines()]
  lists = {row["topic_id"]: row["item_ids"] for row in rows}
  assert [len(set(found)) for found in lists.values()] == [9, 9]
  assert not {"im3", "im6"} & {*lists["t2"]}  # what was shown as examples

  # Right are the first of one topic and the third of the other.
  relevance = workdir / "relevance.tsv"
  relevance.write_text(f"t1\t{lists['t1'][0]}\nt2\t{lists['t2'][2]}\n")
  told = run_script(
    "eval_recommendation.py",
    f"--ranking={ranking}",
    f"--relevance={relevance}",
    "--cuts=1,5",
    "--bootstrap=50",
  ).stdout
  found = read_result(told.splitlines()[-1])
  assert found["metrics"]["hit@1"] == 0.5
  assert found["metrics"]["mrr@5"] == pytest.approx((1 + 1 / 3) / 2)
  assert (found["n_queries"], found["n_items"]) == (2, IMAGES)
  assert found["step"] == 7


def test_queries_of_the_kdd_cup(workdir):
  submission = workdir / "submission.csv"
  told = run_script(
    "-m",
    "interbert_jax.app.ranking.eval_kdd",
    f"--workdir={workdir}",
    *write_kdd(workdir),
    f"--submission={submission}",
  ).stdout
  found = read_result(told.splitlines()[-1])
  assert found["n_queries"] == 2 and found["n_pairs_scored"] == 13
  assert 0 <= found["metrics"]["official_ndcg@5"] <= 1
  header, *rows = csv.reader(submission.read_text().splitlines())
  assert header[0] == "query-id" and [row[0] for row in rows] == ["1", "2"]
  assert set(rows[0][1:]) <= {str(n) for n in range(6)}


def test_a_chinese_pool(workdir):
  texts = write_lines(
    workdir / "valid_texts.jsonl",
    [
      {"text_id": n, "text": text, "image_ids": [f"im{n}"]}
      for n, text in enumerate(["a dog", "the cat", "red man", "runs"])
    ]
    # Ten different texts are wanted in the lists of images.
    + [
      {"text_id": n, "text": "sits " * n, "image_ids": []} for n in range(4, 11)
    ],
  )
  told = run_script(
    "-m",
    "interbert_jax.app.ranking.eval_chinese_clip",
    f"--workdir={workdir}",
    f"--texts={texts}",
    f"--predictions={workdir / 'predictions'}",
    "--split=valid",
  ).stdout
  found = read_result(told.splitlines()[-1])
  assert found["n_queries"] == 4 and found["n_skipped"] == 7
  score = json.loads(
    (workdir / "predictions/text_to_image_output.json").read_text()
  )["scoreJson"]
  for k in (1, 5, 10):
    name = f"image_retrieval_recall@{k}"
    assert score[f"r{k}"] == pytest.approx(100 * found["metrics"][name])


def test_mistaken_flags_are_named_before_a_run_is_opened():
  words = ("--workdir=none", "--topics=t.jsonl", "--output=ranking.txt")
  for more, message in (
    (["--top_k=0"], "--top_k is 0; wanted a whole number, 1 or more"),
    ([], "--output is 'ranking.txt'; wanted a name that ends in .jsonl or"),
  ):
    done = subprocess.run(
      [sys.executable, "recommend.py", *words, *more],
      cwd=ROOT,
      capture_output=True,
      text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}")
