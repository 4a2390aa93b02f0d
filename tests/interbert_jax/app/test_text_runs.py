"""A run on sentences from the configuration to the server's files."""

import jax
import numpy as np
import pytest

from configs import finetune_text
from input_pipeline.annotations.sentence_formats import FORMATS
from interbert_jax.app import train as run_training
from interbert_jax.app.evaluate import text as text_evaluation
from interbert_jax.contract.errors import ConfigError
from interbert_jax.parallel import make_parallel
from interbert_jax.run.metric_writer import read_metrics
from tests.support import sentence_files as files
from tests.support.result_schema import read_result
from tests.support.scripts import run_script
from tests.support.tiny_data import WORDS, write_vocab

ROWS = {
  "train": 16,
  "val": 9,
  "val_mm": 7,
  "test": 5,
  "test_mm": 3,
}


def one_device(**options):
  """Compiles in half the time."""
  return make_parallel(devices=jax.devices()[:1], **options)


def write_mnli(directory):
  rng = np.random.default_rng(0)
  layout = FORMATS["mnli"]
  for split, count in ROWS.items():
    rows = [
      {
        "index": 100 + n,
        "sentence1": " ".join(rng.choice(WORDS, 4)),
        "sentence2": " ".join(rng.choice(WORDS, 3)),
        "gold_label": layout.labels[n % 3],
      }
      for n in range(count)
    ]
    header = files.columns("mnli", test=split.startswith("test"))
    files.write_tsv(directory / layout.files[split], header, rows)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """(folder of workdirs, the last metrics of a run in it)."""
  root = tmp_path_factory.mktemp("glue")
  write_mnli(root / "data" / "MNLI")
  config = finetune_text.get_config("mnli,runlocal")
  config.input.directory = str(root / "data" / "MNLI")
  config.input.vocab = str(write_vocab(root / "vocab.txt"))
  config.input.max_text_length = 10
  config.model.num_interaction_layers = 1
  config.train.steps = 2
  config.train.batch_size = 8
  config.train.log_every = 1
  config.evals.batch_size = 8
  config.checkpoint.save_every = 2
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(run_training, "make_parallel", one_device)
    final = run_training.run_training(config, root / "runs" / "mnli")
  return root / "runs", final


def evaluate(workdir, split, **options):
  return text_evaluation.evaluate(
    workdir,
    split=split,
    output=None,
    checkpoint="latest",
    changes=[],
    ema=None,
    parallel=one_device(),
    **options,
  )


def test_it_trains_and_measures_both_dev_files(run):
  folder, final = run
  rows = [row for row in read_metrics(folder / "mnli") if "loss" in row]
  assert [row["step"] for row in rows] == [1, 2]
  assert all(row["answer_loss"] > 0 for row in rows)
  assert {"val/score", "val/accuracy", "val_mm/accuracy"} <= final.keys()


def test_the_script_measures_what_training_measured(run):
  folder, final = run
  result = evaluate(folder / "mnli", "val")
  found = read_result(folder / "mnli/eval/text_val_2.json")
  assert found["metrics"] == result["metrics"]
  for name, key in (("accuracy", "val"), ("accuracy_mm", "val_mm")):
    assert found["metrics"][name] == final[f"{key}/accuracy"]
  mean = (final["val/accuracy"] + final["val_mm/accuracy"]) / 2
  assert found["metrics"]["score"] == pytest.approx(mean)
  assert found["official_metrics"] == ["accuracy", "accuracy_mm"]
  assert (found["dataset"], found["sentence_task"]) == ("MNLI", "mnli")
  assert found["n_examples"] == 16
  assert "no image" in found["streams"]


def test_all_runs_of_a_folder_by_the_script(run):
  folder, final = run
  told = run_script(
    "eval_text.py", f"--workdir={folder}", "--all", "--split=val"
  ).stdout
  found = read_result(told.splitlines()[-1])
  assert found["averaged"] == ["mnli"]
  assert found["metrics"]["score"] == pytest.approx(
    (final["val/accuracy"] + final["val_mm/accuracy"]) / 2
  )


def test_both_test_files_become_predictions(run, tmp_path):
  folder, _ = run
  result = evaluate(folder / "mnli", "test", predictions=tmp_path)
  assert result["metrics"] == {}
  for name, count in (("MNLI-m.tsv", 5), ("MNLI-mm.tsv", 3)):
    header, *rows = (tmp_path / name).read_text().splitlines()
    assert header == "index\tprediction"
    index, words = zip(*(row.split("\t") for row in rows), strict=True)
    assert index == tuple(str(100 + n) for n in range(count))
    assert set(words) <= set(FORMATS["mnli"].labels)


def test_runs_of_a_folder_are_found(run, tmp_path):
  folder, _ = run
  assert text_evaluation.find_runs(folder) == [folder / "mnli"]
  (tmp_path / "other").mkdir()
  (tmp_path / "other" / "config.json").write_text('{"task": {"name": "x"}}')
  with pytest.raises(ConfigError, match="--all wants a folder of workdirs"):
    text_evaluation.find_runs(tmp_path)


def result(task, score, workdir=""):
  metrics = {} if score is None else {"score": score}
  return {
    "sentence_task": task,
    "dataset": task.upper(),
    "workdir": workdir or task,
    "step": 2,
    "official_metrics": [],
    "metrics": metrics,
  }


def test_the_average_is_over_tasks(tmp_path):
  results = [result("mnli", 0.8), result("cola", 0.4), result("wnli", 0.3)]
  path = text_evaluation.write_average(
    tmp_path / "all.json", results, split="val"
  )
  found = read_result(path)
  assert found["metrics"]["score"] == pytest.approx(0.5)
  assert found["metrics"]["score_without_wnli"] == pytest.approx(0.6)
  assert found["averaged"] == ["mnli", "cola", "wnli"]
  assert "sst2" in found["glue_tasks_not_averaged"]
  assert "tnews" not in found["glue_tasks_not_averaged"]
  path = text_evaluation.write_average(path, results[:2], split="val")
  found = read_result(path)
  assert found["metrics"] == {"score": pytest.approx(0.6)}
  assert "wnli" in found["glue_tasks_not_averaged"]
  path = text_evaluation.write_average(
    path, [result("rte", None)], split="test"
  )
  assert read_result(path)["metrics"] == {}
  with pytest.raises(ConfigError, match="a and b are both runs on rte"):
    text_evaluation.write_average(
      path, [result("rte", 1, "a"), result("rte", 0, "b")], split="val"
    )


def test_configurations_of_every_task():
  for name in (*FORMATS, "own"):
    assert finetune_text.get_config(name).input.task == name
  local = finetune_text.get_config("rte,runlocal")
  assert (local.train.steps, local.model.size) == (20, "tiny")
  assert "retrieval_images" not in local.evals
