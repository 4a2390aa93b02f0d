"""VQA from its files to the JSON and the submission."""

import json

import pytest

from configs import finetune_vqa
from interbert_jax.app.evaluate.vqa import evaluate_vqa
from interbert_jax.app.train import run_training
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.parallel import make_parallel
from interbert_jax.run.metric_writer import read_metrics
from tests.support.result_schema import read_result
from tests.support.scripts import run_script
from tests.support.tiny_questions import write_vqa


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  root = tmp_path_factory.mktemp("run")
  files = write_vqa(root)
  config = finetune_vqa.get_config("runlocal")
  for key in set(files) - {"split", "seed"}:
    value = files[key]
    config.input[key] = value if isinstance(value, int) else str(value)
  config.model.hidden_size = 32
  config.model.num_interaction_layers = 1
  config.model.mlp_dim = 32
  config.model.region_mlp_dim = 32
  config.model.pooler_dim = 32
  config.train.batch_size = 8
  config.train.steps = 2
  config.train.log_every = 1
  config.evals.batch_size = 8
  config.checkpoint.save_every = 2
  run_training(config, root / "run")
  return root / "run"


def test_the_script(workdir):
  told = run_script("eval_vqa.py", f"--workdir={workdir}")
  found = read_result(told.stdout.splitlines()[-1])
  logged = read_metrics(workdir)[-1]["val/accuracy"]
  assert found["metrics"]["accuracy"] == pytest.approx(logged)


def test_training_and_evaluation_agree(workdir, tmp_path, capsys):
  run = TrainedRun(str(workdir), checkpoint="best", changes=[])
  found = evaluate_vqa(run, make_parallel(), split="val")
  logged = read_metrics(workdir)[-1]
  assert found.keys() == {"accuracy", "accuracy_other", "accuracy_yes/no"}
  for name, value in found.items():
    assert value == pytest.approx(logged[f"val/{name}"], rel=1e-5)
  result = read_result(workdir / "eval" / "vqa_val_2.json")
  assert result["metrics"] == found
  assert (result["n_questions"], result["n_answers"]) == (3, 2)

  path = tmp_path / "vqa.json"
  capsys.readouterr()
  assert not evaluate_vqa(
    run, make_parallel(), split="test", submission=str(path)
  )
  assert "test has no annotations: no metrics" in capsys.readouterr().out
  rows = json.loads(path.read_text())
  assert [row["question_id"] for row in rows] == [0, 1, 2]
  assert {row["answer"] for row in rows} <= {"dog", "yes"}

  answers = tmp_path / "answers.txt"
  answers.write_text("yes\ndog\n")
  run.config["input"]["answers"] = str(answers)
  with pytest.raises(ValueError, match="the 2 answers .* are not those of the"):
    evaluate_vqa(run, make_parallel(), split="val")
