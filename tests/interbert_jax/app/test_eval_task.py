"""eval_task.py: runs of each task, from their files to the server's."""

import json
import os
import stat

import numpy as np
import pytest

from configs import finetune_text, finetune_vcr, finetune_vqa
from input_pipeline.annotations.sentence_formats import FORMATS
from interbert_jax import export
from interbert_jax.app import evaluate
from interbert_jax.app.eval_settings import TaskReport
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.contract.errors import ConfigError
from interbert_jax.evaluation.vcr_leaderboard import parse_leaderboard
from interbert_jax.run.metric_writer import read_metrics
from tests.support import sentence_files
from tests.support.random_run import one_device, train_two_steps
from tests.support.result_schema import read_result
from tests.support.scripts import run_script
from tests.support.tiny_data import WORDS, write_vocab
from tests.support.tiny_questions import write_vcr, write_vqa
from tests.support.tiny_run import write_run

MNLI_ROWS = {"train": 16, "val": 9, "val_mm": 7, "test": 5, "test_mm": 3}


def trained(config, files, workdir):
  """A small model that is trained for two steps; its workdir."""
  config.model.initializer_range = 0.3  # so that scores differ visibly
  train_two_steps(config, files, workdir)
  return workdir


@pytest.fixture(scope="module")
def vcr(tmp_path_factory):
  root = tmp_path_factory.mktemp("vcr")
  files, _, _ = write_vcr(root)
  config = finetune_vcr.get_config("both,runlocal")
  return trained(config, files, root / "run")


@pytest.fixture(scope="module")
def vqa(tmp_path_factory):
  root = tmp_path_factory.mktemp("vqa")
  config = finetune_vqa.get_config("runlocal")
  return trained(config, write_vqa(root), root / "run")


def write_mnli(directory):
  rng = np.random.default_rng(0)
  layout = FORMATS["mnli"]
  for split, count in MNLI_ROWS.items():
    rows = [
      {
        "index": 100 + n,
        "sentence1": " ".join(rng.choice(WORDS, 4)),
        "sentence2": " ".join(rng.choice(WORDS, 3)),
        "gold_label": layout.labels[n % 3],
      }
      for n in range(count)
    ]
    header = sentence_files.columns("mnli", test=split.startswith("test"))
    sentence_files.write_tsv(directory / layout.files[split], header, rows)


@pytest.fixture(scope="module")
def mnli(tmp_path_factory):
  """A run in a folder of runs."""
  root = tmp_path_factory.mktemp("glue")
  write_mnli(root / "data" / "MNLI")
  files = {
    "directory": root / "data" / "MNLI",
    "vocab": write_vocab(root / "vocab.txt"),
    "max_text_length": 10,
  }
  config = finetune_text.get_config("mnli,runlocal")
  return trained(config, files, root / "runs" / "mnli")


def opened(workdir, *changes):
  return TrainedRun(str(workdir), checkpoint="latest", changes=list(changes))


def evaluated(run, split, **options):
  settings = TaskReport(split=split, **options)
  return evaluate.evaluate_run(run, settings, one_device())


def test_vcr(vcr, capsys):
  file = vcr / "scores.jsonl"
  metrics = evaluated(opened(vcr), "val", scores=str(file))["metrics"]
  logged = read_metrics(vcr)[-1]
  assert metrics == {
    name: pytest.approx(logged[f"val/{name}"], rel=1e-5)
    for name in ("loss", "Q->A", "QA->R", "Q->AR")
  }
  result = read_result(vcr / "eval" / "vcr_val_2.json")
  assert result["metrics"] == metrics
  assert (result["task"], result["n_questions"]) == ("vcr", 5)
  assert result["dataset"] == "vcr"
  low, high = result["intervals_95"]["Q->A"]
  assert low <= metrics["Q->A"] <= high
  printed = capsys.readouterr().out
  assert f"Q->AR  {100 * metrics['Q->AR']:.1f} %  (" in printed
  assert printed.count(", chance 25.0 %") == 2  # of both halves
  assert f"val: 5 questions, {result['n_images']} images" in printed
  assert (result["chance"], result["interval_unit"]) == (0.25, "image")
  # Enough to compute the metrics again.
  rows = [json.loads(line) for line in file.read_text().splitlines()]
  assert [row["annot_id"] for row in rows] == [f"val-{i}" for i in range(5)]
  # Labels of write_vcr.
  answers = np.array([np.argmax(row["answer"]) for row in rows])
  rationales = np.array([np.argmax(row["rationale"]) for row in rows])
  hits = answers == np.arange(5) % 4, rationales == (np.arange(5) + 1) % 4
  assert metrics["Q->A"] == hits[0].mean()
  assert metrics["Q->AR"] == (hits[0] & hits[1]).mean()
  # The command evaluates the split that training did.
  told = run_script("eval_task.py", f"--workdir={vcr}", "--checkpoint=best")
  result = read_result(told.stdout.splitlines()[-1])
  assert result["metrics"]["Q->AR"] == metrics["Q->AR"]


def test_the_leaderboard_of_vcr(vcr, capsys):
  path = vcr / "test.csv"
  assert not evaluated(opened(vcr), "test", predictions=str(path))
  assert "test has no labels: no metrics" in capsys.readouterr().out
  ids = ["test-0", "test-1", "test-2"]
  _, scores = parse_leaderboard(path.read_text(), path, ids)
  assert scores.shape == (3, 5, 4)
  np.testing.assert_allclose(scores.sum(-1), 1)
  # Rationales after other answers have other scores.
  assert np.abs(scores[:, 1] - scores[:, 2]).max() > 1e-6


def test_a_labelled_split_gives_the_same_numbers_both_ways(vcr):
  run = opened(vcr)
  plain = evaluated(run, "val")["metrics"]
  path = vcr / "val.csv"
  full = evaluated(run, "val", predictions=str(path))["metrics"]
  assert full == {k: pytest.approx(v, rel=1e-5) for k, v in plain.items()}
  ids = [f"val-{i}" for i in range(5)]
  scores = parse_leaderboard(path.read_text(), path, ids)[1]
  answers = scores[:, 0].argmax(1)
  assert full["Q->A"] == np.mean(answers == np.arange(5) % 4)


def test_vqa(vqa, tmp_path, capsys):
  run = opened(vqa)
  metrics = evaluated(run, "val")["metrics"]
  logged = read_metrics(vqa)[-1]
  assert metrics.keys() == {"accuracy", "accuracy_other", "accuracy_yes/no"}
  for name, value in metrics.items():
    assert value == pytest.approx(logged[f"val/{name}"], rel=1e-5)
  result = read_result(vqa / "eval" / "vqa_val_2.json")
  assert result["metrics"] == metrics
  assert (result["n_questions"], result["n_answers"]) == (3, 2)

  path = tmp_path / "vqa.json"
  assert not evaluated(run, "test", predictions=str(path))
  assert "test has no labels: no metrics" in capsys.readouterr().out
  rows = json.loads(path.read_text())
  assert [row["question_id"] for row in rows] == [0, 1, 2]
  assert {row["answer"] for row in rows} <= {"dog", "yes"}

  answers = tmp_path / "answers.txt"
  answers.write_text("yes\ndog\n")
  with pytest.raises(ValueError, match="the 2 answers .* are not those of the"):
    evaluated(opened(vqa, f"input.answers={answers}"), "val")


def test_an_export_of_vqa(vqa, tmp_path, capsys):
  run = opened(vqa)
  folder = tmp_path / "exported"
  words = {"checkpoint": run.source, "vocab": run.settings.input.vocab}
  flags = [f"--{k}={v}" for k, v in {**words, "output": folder}.items()]
  assert not export.main(flags)

  def metrics():
    exported = TrainedRun(vqa, checkpoint=str(folder), changes=[])
    return evaluated(exported, "val")["metrics"]

  wanted = evaluated(run, "val")["metrics"]
  assert metrics() == wanted
  assert "which 2 answers" not in capsys.readouterr().err
  # Exports did not say the answers at first.
  config = json.loads((folder / "config.json").read_text())
  del config["answers_sha256"]
  (folder / "config.json").write_text(json.dumps(config))
  (folder / "SHA256SUMS").unlink()
  assert metrics() == wanted
  assert "which 2 answers" in capsys.readouterr().err


def test_what_a_run_has_no_use_for_is_refused(vcr, vqa, mnli, tmp_path):
  run = opened(vcr, "input.objectives=('answer',)")
  with pytest.raises(ConfigError, match="was trained for answer; the leaderb"):
    evaluated(run, "test", predictions="x.csv")
  with pytest.raises(ConfigError, match="'retrieval'; eval_retrieval.py eval"):
    evaluated(opened(write_run(tmp_path, images=2)), "val")
  with pytest.raises(ConfigError, match="'vqa', .* no choices .* have: vcr"):
    evaluated(opened(vqa), "val", scores="x.jsonl")
  settings = TaskReport(scores="x.jsonl")
  with pytest.raises(ConfigError, match="--scores: --all evaluates .*: vcr"):
    evaluate.evaluate_folder(mnli.parent, opened, settings, one_device())


def test_sentences(mnli, tmp_path):
  workdir = mnli
  rows = [row for row in read_metrics(workdir) if "loss" in row]
  final = read_metrics(workdir)[-1]
  assert [row["step"] for row in rows] == [1, 2]
  assert all(row["answer_loss"] > 0 for row in rows)
  assert {"val/score", "val/accuracy", "val_mm/accuracy"} <= final.keys()

  result = evaluated(opened(workdir), "val")
  found = read_result(workdir / "eval/text_val_2.json")
  assert found["metrics"] == result["metrics"]
  for name, key in (("accuracy", "val"), ("accuracy_mm", "val_mm")):
    assert found["metrics"][name] == final[f"{key}/accuracy"]
  mean = (final["val/accuracy"] + final["val_mm/accuracy"]) / 2
  assert found["metrics"]["score"] == pytest.approx(mean)
  assert found["official_metrics"] == ["accuracy", "accuracy_mm"]
  assert (found["dataset"], found["sentence_task"]) == ("MNLI", "mnli")
  assert (found["n_examples"], found["predictions"]) == (16, [])
  assert "no image" in found["streams"]

  # On request, files with labels have predictions too.
  evaluated(opened(workdir), "val", predictions=str(tmp_path))
  assert len(list(tmp_path.iterdir())) == 2


def test_sentences_without_labels_become_predictions(mnli, tmp_path):
  output = tmp_path / "test.json"
  result = evaluated(opened(mnli), "test", output=str(output))
  assert result["metrics"] == {}
  for name, count in (("MNLI-m.tsv", 5), ("MNLI-mm.tsv", 3)):
    header, *rows = (tmp_path / name).read_text().splitlines()
    assert header == "index\tprediction"
    index, words = zip(*(row.split("\t") for row in rows), strict=True)
    assert index == tuple(str(100 + n) for n in range(count))
    assert set(words) <= set(FORMATS["mnli"].labels)


def test_all_runs_of_a_folder(mnli, tmp_path):
  folder = mnli.parent
  final = read_metrics(mnli)[-1]
  told = run_script("eval_task.py", f"--workdir={folder}", "--all").stdout
  found = read_result(told.splitlines()[-1])
  assert told.splitlines()[-1] == str(folder / "text_val.json")
  assert found["averaged"] == ["mnli"]
  assert found["metrics"]["score"] == pytest.approx(
    (final["val/accuracy"] + final["val_mm/accuracy"]) / 2
  )
  evaluate.evaluate_folder(
    folder, opened, TaskReport(split="test"), one_device()
  )
  assert len(list((folder / "predictions").iterdir())) == 2
  assert evaluate.find_runs(folder) == [mnli]
  (tmp_path / "other").mkdir()
  (tmp_path / "other" / "config.json").write_text('{"task": {"name": "x"}}')
  with pytest.raises(ConfigError, match="--all wants a folder of workdirs"):
    evaluate.find_runs(tmp_path)


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
  def average(*results, split="val"):
    path = evaluate.write_average(tmp_path / "all.json", results, split=split)
    return read_result(path)

  results = [result("mnli", 0.8), result("cola", 0.4), result("wnli", 0.3)]
  found = average(*results)
  assert found["metrics"]["score"] == pytest.approx(0.5)
  assert found["metrics"]["score_without_wnli"] == pytest.approx(0.6)
  assert found["averaged"] == ["mnli", "cola", "wnli"]
  assert "sst2" in found["glue_tasks_not_averaged"]
  assert "tnews" not in found["glue_tasks_not_averaged"]
  found = average(*results[:2])
  assert found["metrics"] == {"score": pytest.approx(0.6)}
  assert "wnli" in found["glue_tasks_not_averaged"]
  assert average(result("rte", None), split="test")["metrics"] == {}
  with pytest.raises(ConfigError, match="a and b are both runs on rte"):
    average(result("rte", 1, "a"), result("rte", 0, "b"))


def test_configurations_of_every_sentence_task():
  for name in (*FORMATS, "own"):
    assert finetune_text.get_config(name).input.task == name
  local = finetune_text.get_config("rte,runlocal")
  assert (local.train.steps, local.model.size) == (20, "tiny")
  assert "retrieval_images" not in local.evals


def test_an_export_stands_alone(vcr, tmp_path):
  """Lengths, objectives, task and vocabulary are in it; only data is named."""
  config = opened(vcr).config
  folder = tmp_path / "shared"
  vocab = f"--vocab={config.input.vocab}"
  checkpoint = f"--checkpoint={vcr / 'checkpoints/2'}"
  before = os.umask(0o027)
  try:
    assert export.main([checkpoint, vocab, f"--output={folder}"]) == 0
  finally:
    os.umask(before)
  assert {stat.S_IMODE(p.stat().st_mode) for p in folder.iterdir()} == {0o640}
  text = (folder / "config.json").read_text()
  assert str(vcr.parent) not in text
  data = ("store", "ground_truth", "annotations", "names", "images")
  changes = [f"input.{key}={config.input[key]}" for key in data]
  changes.append("evals.batch_size=8")
  run = TrainedRun(None, checkpoint=str(folder), changes=changes)
  assert run.settings.input.max_text_length == config.input.max_text_length
  found = evaluated(run, "val")
  assert found["metrics"] == evaluated(opened(vcr), "val")["metrics"]
  assert (folder / "eval" / "vcr_val_2.json").is_file()
  card = (folder / "README.md").read_text()
  assert "| task; slots | vcr; regions 4, text 14 |" in card
  with pytest.raises(ConfigError, match="no exported folder with its settings"):
    TrainedRun(None, checkpoint=str(vcr / "checkpoints/2"), changes=[])
