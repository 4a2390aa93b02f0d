"""The measuring scripts load, and what they write into pages."""

import importlib

import pytest

from bench import ablation, core_jobs
from bench.measuring import mean_and_deviation, put_block
from tests.conftest import ROOT
from tests.support.scripts import run_python

NAMES = sorted(path.stem for path in (ROOT / "bench").glob("*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_it_loads_and_says_what_it_does(name):
  if name == "torch_interbert":
    pytest.importorskip("torch", reason="PyTorch is not installed")
  assert importlib.import_module(f"bench.{name}").__doc__


def test_it_answers_help():
  done = run_python("-m", "bench.downstream", "--help")
  assert done.returncode == 0, done.stderr
  assert "--checkpoint" in done.stdout


def test_means_in_percent():
  assert mean_and_deviation([0.25]) == "25.0"
  assert mean_and_deviation([0.2, 0.4]) == "30.0 ± 14.1"  # of the sample
  assert mean_and_deviation([]) == "–"


def test_a_block_of_a_page(tmp_path):
  page = tmp_path / "results.md"
  page.write_text("a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n")
  put_block("x", "new\nlines\n", page)
  assert page.read_text() == (
    "a\n<!-- x: begin -->\nnew\nlines\n<!-- x: end -->\nb\n"
  )
  with pytest.raises(ValueError, match="no <!-- y: begin -->"):
    put_block("y", "new", page)


def test_rows_without_a_measure_have_a_dash():
  found = {
    "none": {"text": {"accuracy": [0.5, 0.5]}},
    "msm": {
      "zeroshot": {"image_retrieval_recall@1": [0.1]},
      "text": {"accuracy": [0.75]},
    },
  }
  assert ablation.table(found).splitlines() == [
    "| pretraining | zero-shot R@1 | sentence pairs |",
    "|---|---|---|",
    "| no pretraining | – | 50.0 ± 0.0 |",
    "| MSM + ITM | 10.0 | 75.0 |",
  ]


def test_jobs_run_with_a_core_each(tmp_path, capfd):
  core_jobs.run_jobs(
    _cores_of, [("a",), ("b",), ("c",)], jobs=2, compiled=tmp_path
  )
  told = capfd.readouterr().out.split()
  assert sorted(word for word in told if word[0] in "abc") == [
    "a:1",
    "b:1",
    "c:1",
  ]


def _cores_of(name: str) -> str:
  import os

  return f"{name}:{len(os.sched_getaffinity(0))}"


def test_a_run_that_ended_unheard_is_made_again(tmp_path, monkeypatch):
  """A finished workdir measures nothing more."""
  calls = []

  def train(config, workdir):
    calls.append(workdir.exists())
    workdir.mkdir(exist_ok=True)
    return {} if calls[-1] else {"val/accuracy": 0.5}

  monkeypatch.setattr("interbert_jax.app.train.run_training", train)
  workdir = tmp_path / "run"
  for wanted in ([False], [False, True, False]):
    found = core_jobs.held_out_metrics(None, workdir)
    assert found == {"val/accuracy": 0.5} and calls == wanted
