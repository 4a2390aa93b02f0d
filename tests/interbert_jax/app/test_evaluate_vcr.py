"""VCR from its files to the JSON and the leaderboard: training, evaluation."""

import json

import numpy as np
import pytest

from configs import finetune_vcr
from interbert_jax.app.evaluate.vcr import evaluate_vcr
from interbert_jax.app.train import run_training
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.evaluation.vcr_leaderboard import read_leaderboard
from interbert_jax.parallel import make_parallel
from interbert_jax.run.metric_writer import read_metrics
from tests.support.result_schema import read_result
from tests.support.scripts import run_script
from tests.support.tiny_questions import write_vcr


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  root = tmp_path_factory.mktemp("run")
  files, _, _ = write_vcr(root)
  config = finetune_vcr.get_config("both,runlocal")
  for key in set(files) - {"split", "seed"}:
    value = files[key]
    config.input[key] = value if isinstance(value, int) else str(value)
  config.model.hidden_size = 32
  config.model.mlp_dim = 32
  config.model.region_mlp_dim = 32
  config.model.pooler_dim = 32
  config.model.num_interaction_layers = 1
  config.model.initializer_range = 0.3  # so that scores differ visibly
  config.train.batch_size = 8
  config.train.steps = 2
  config.train.log_every = 1
  config.evals.batch_size = 8
  config.checkpoint.save_every = 2
  run_training(config, root / "run")
  return root / "run"


def opened(workdir):
  return TrainedRun(str(workdir), checkpoint="best", changes=[])


@pytest.fixture(scope="module")
def parallel():
  return make_parallel()


def test_training_and_evaluation_agree(workdir, parallel, capsys):
  scores_file = workdir / "scores.jsonl"
  found = evaluate_vcr(
    opened(workdir), parallel, split="val", scores_file=str(scores_file)
  )
  logged = read_metrics(workdir)[-1]
  assert found == {
    name: pytest.approx(logged[f"val/{name}"], rel=1e-5)
    for name in ("loss", "Q->A", "QA->R", "Q->AR")
  }
  result = read_result(workdir / "eval" / "vcr_val_2.json")
  assert result["metrics"] == found
  assert (result["task"], result["n_questions"]) == ("vcr", 5)
  assert result["dataset"] == "vcr"
  low, high = result["intervals_95"]["Q->A"]
  assert low <= found["Q->A"] <= high
  assert f"Q->AR  {100 * found['Q->AR']:.1f}  (" in capsys.readouterr().out
  # Enough to compute the metrics again.
  rows = [json.loads(line) for line in scores_file.read_text().splitlines()]
  assert [row["annot_id"] for row in rows] == [f"val-{i}" for i in range(5)]
  # Labels of write_vcr.
  answers = np.array([np.argmax(row["answer"]) for row in rows])
  rationales = np.array([np.argmax(row["rationale"]) for row in rows])
  hits = answers == np.arange(5) % 4, rationales == (np.arange(5) + 1) % 4
  assert found["Q->A"] == hits[0].mean()
  assert found["Q->AR"] == (hits[0] & hits[1]).mean()


def test_the_script(workdir):
  told = run_script("eval_vcr.py", f"--workdir={workdir}", "--checkpoint=best")
  found = read_result(told.stdout.splitlines()[-1])
  assert found["metrics"]["Q->AR"] == read_metrics(workdir)[-1]["val/Q->AR"]


def test_the_leaderboard_of_the_test_split(workdir, parallel, capsys):
  path = workdir / "test.csv"
  run = opened(workdir)
  assert not evaluate_vcr(run, parallel, split="test", leaderboard=str(path))
  assert "test has no labels: no metrics" in capsys.readouterr().out
  ids, scores = read_leaderboard(path, ["test-0", "test-1", "test-2"])
  assert scores.shape == (3, 5, 4)
  np.testing.assert_allclose(scores.sum(-1), 1)
  # Rationales after other answers have other scores.
  assert np.abs(scores[:, 1] - scores[:, 2]).max() > 1e-6


def test_a_labelled_split_gives_the_same_numbers_both_ways(workdir, parallel):
  run = opened(workdir)
  plain = evaluate_vcr(run, parallel, split="val")
  path = workdir / "val.csv"
  full = evaluate_vcr(run, parallel, split="val", leaderboard=str(path))
  assert full == {k: pytest.approx(v, rel=1e-5) for k, v in plain.items()}
  answers = read_leaderboard(path)[1][:, 0].argmax(1)
  assert full["Q->A"] == np.mean(answers == np.arange(5) % 4)


def test_other_runs_are_refused(workdir, parallel):
  run = opened(workdir)
  run.config["input"]["objectives"] = ("answer",)
  with pytest.raises(ValueError, match="was trained for answer; the leaderb"):
    evaluate_vcr(run, parallel, split="test", leaderboard="x.csv")
  run.config["task"]["name"] = "pretrain"
  with pytest.raises(ValueError, match="a run of task 'pretrain', wanted vcr"):
    evaluate_vcr(run, parallel, split="val")
