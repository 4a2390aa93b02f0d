"""The commands of the README on tiny data: train, evaluate, train again."""

import datetime
import json

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import interbert_jax as ib
from interbert_jax import export
from interbert_jax.app.train import run_training
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.contract.errors import CheckpointError, ConfigError
from interbert_jax.run.metric_writer import read_metrics
from tests.conftest import ROOT
from tests.support import tiny_data
from tests.support.result_schema import read_result
from tests.support.scripts import run_script

TEXTS = 3 + 1 + 2  # of the three held-out images of tiny_data
SETTINGS = {
  **{f"model.{key}": value for key, value in tiny_data.TINY_MODEL.items()},
  "task.group_size": 2,
  "task.mlm_rows": 10,
  "task.mrm_rows": 10,
  "input.max_text_length": 8,
  "input.max_regions": 6,
  "train.batch_size": 16,
  "train.accumulate_steps": 2,
  "train.ema_decay": 0.5,
  "optim.rate_groups": "(('region_encoder/', 0.5), ('mlm_head/', 0))",
  "init_from": "random",
  "optim.milestones": "(1.5,)",
  "train.steps": 4,
  "train.log_every": 2,
  "evals.every": 4,
  "evals.batch_size": 8,
  "evals.retrieval_images": 3,
  "evals.pairs_per_step": 16,
  "checkpoint.save_every": 4,
}


@pytest.fixture(scope="module")
def train_command(tmp_path_factory):
  root = tmp_path_factory.mktemp("run")
  tiny_data.write_tiny_store(root / "store", tiny_data.make_records(12))
  settings = {
    **SETTINGS,
    "input.store": root / "store",
    "input.annotations": tiny_data.write_captions(
      root / "captions.jsonl", train=9
    ),
    "input.vocab": tiny_data.write_vocab(root / "vocab.txt"),
  }
  return (
    "main.py",
    "--config=configs/quickstart.py",
    f"--workdir={root / 'workdir'}",
    *(f"--config.{key}={value}" for key, value in settings.items()),
  )


@pytest.fixture(scope="module")
def trained(train_command):
  """(workdir, what the training said)."""
  workdir = ROOT / train_command[2].removeprefix("--workdir=")
  return workdir, run_script(*train_command).stderr


def evaluate(workdir, script):
  """(console output, result)."""
  text = run_script(script, f"--workdir={workdir}", "--split=val").stdout
  path = text.splitlines()[-1]
  return text, read_result(ROOT / path)


def check_result(result, workdir):
  assert (result["dataset"], result["split"]) == ("captions", "val")
  assert (result["step"], result["n_images"], result["n_texts"]) == (4, 3, 6)
  assert result["pretrained"] == str(workdir / "checkpoints/4")
  assert result["config"]["model"]["hidden_size"] == 16
  assert {"jax", "flax", "orbax-checkpoint"} <= set(result["versions"])
  assert {"data_fingerprint", "language"} <= set(result)
  assert result["ema"] is True  # this run keeps an average
  assert datetime.datetime.fromisoformat(result["date"]).tzinfo
  for name, value in result["metrics"].items():
    if "recall@" in name or name.endswith(("_acc", "_rate", "_dropped")):
      assert 0 <= value <= 1, name


def test_training_says_what_it_does(trained):
  _, text = trained
  lines = text.splitlines()
  # The data is checked first: short captions are no reason to stop.
  assert lines[0].startswith("warning  D8         captions: found 1 pieces")
  start = next(i for i, line in enumerate(lines) if "epochs" in line)
  lines = lines[start:]
  assert "18 captions of 9 images, 4 steps of 16 (3.6 epochs)" in lines[0]
  assert "from random parameters; 1 cpu device(s)" in lines[1]
  assert "(5 arrays frozen)" in lines[1]
  shown = [line for line in lines if line.startswith("step ")]
  assert [line.split(" loss ")[0] for line in shown] == [
    "step 2/4 (50.0%)",
    "step 4/4 (100.0%)",
  ]
  assert "ETA" in shown[0] and "ex/s" in shown[0]
  assert "Traceback" not in text and "Warning" not in text


def test_the_files_of_a_workdir(trained):
  workdir, _ = trained
  found = {path.name for path in workdir.iterdir()} - {"eval"}
  events = {name for name in found if name.startswith("events.out.tfevents.")}
  assert len(events) == 1
  assert found - events == {
    "checkpoints",
    "config.json",
    "env.json",
    "metrics.jsonl",
    "plots",
    "LOCK",
    "starts.jsonl",
  }
  assert (workdir / "plots/loss.png").is_file()
  assert (workdir / "checkpoints/4/params").is_dir()
  config = json.loads((workdir / "config.json").read_text())
  assert config["train"]["batch_size"] == 16
  assert config["optim"]["rate_groups"] == [
    ["region_encoder/", 0.5],
    ["mlm_head/", 0],
  ]
  assert "--config.train.steps=4" in (workdir / "env.json").read_text()
  rows = read_metrics(workdir)
  assert [row["step"] for row in rows] == [2, 4, 4]
  assert {"val/loss", "val_retrieval/rsum"} <= set(rows[-1])


def test_retrieval(trained):
  workdir, _ = trained
  text, result = evaluate(workdir, "eval_retrieval.py")
  check_result(result, workdir)
  assert result["task"] == "zeroshot_retrieval"
  assert result["n_pairs_scored"] == 3 * TEXTS
  assert 0 <= result["n_ties"] <= 3 + TEXTS
  metrics = result["metrics"]
  for side in ("image", "text"):
    recalls = [metrics[f"{side}_retrieval_recall@{k}"] for k in (1, 5, 10)]
    assert recalls == sorted(recalls)
  # Ten of six texts and of three images: nothing can be missed.
  assert metrics["image_retrieval_recall@5"] == 1
  assert metrics["text_retrieval_recall@10"] == 1
  # Training measured all three held-out images too.
  logged = read_metrics(workdir)[-1]
  for name, value in metrics.items():
    assert value == pytest.approx(logged[f"val_retrieval/{name}"]), name
  percent = 100 * metrics["image_retrieval_recall@1"]
  assert f"text -> image  R@1 {percent:.1f}  R@5 100.0" in text


def test_pretraining_losses_are_those_of_the_training_run(trained):
  workdir, _ = trained
  _, result = evaluate(workdir, "eval_pretrain.py")
  check_result(result, workdir)
  assert result["task"] == "pretraining"
  logged = read_metrics(workdir)[-1]
  assert result["metrics"] == {
    name: pytest.approx(logged[f"val/{name}"], rel=1e-5)
    for name in result["metrics"]
  }
  assert {"loss", "mlm_loss", "mrm_loss", "itm_loss"} <= set(result["metrics"])


def test_training_again_finds_nothing_to_do(trained, train_command):
  workdir, _ = trained
  before = (workdir / "metrics.jsonl").read_bytes()
  text = run_script(*train_command).stderr
  assert f"{workdir} is already trained to step 4" in text
  assert "compiling" not in text
  assert (workdir / "metrics.jsonl").read_bytes() == before


def test_a_refused_change_leaves_the_run_as_it_was(trained):
  """Evaluation reads config.json: it must stay that of the checkpoint."""
  workdir, _ = trained
  before = (workdir / "config.json").read_bytes()
  config = ConfigDict(json.loads(before))
  config.train.batch_size = 8
  config.train.accumulate_steps = 1  # here are eight devices
  with pytest.raises(CheckpointError, match="batch_size: 16 before, 8 now"):
    run_training(config, workdir)
  assert (workdir / "config.json").read_bytes() == before


def test_an_exported_folder_is_evaluated_as_its_checkpoint(
  trained, train_command, tmp_path
):
  workdir, _ = trained
  settings = dict(w.split("=", 1) for w in train_command[3:])
  folder = tmp_path / "exported"
  assert not export.main(
    [
      f"--checkpoint={workdir / 'checkpoints/4'}",
      f"--vocab={settings['--config.input.vocab']}",
      f"--output={folder}",
    ]
  )
  run = TrainedRun(workdir, checkpoint="latest", changes=[])
  exported = TrainedRun(workdir, checkpoint=str(folder), changes=[])
  assert exported.fingerprint == run.fingerprint
  assert (exported.step, exported.model) == (4, run.model)
  exported.check_vocabulary(run.meta["vocab_sha256"], "vocab.txt")
  logged = read_metrics(workdir)[-1]["val/loss"]
  assert f"| val/loss | {logged:.4g} |" in (folder / "README.md").read_text()


def test_average_or_parameters(trained):
  """By default what training evaluated."""
  workdir, _ = trained
  default, average, parameters = (
    TrainedRun(workdir, checkpoint="latest", changes=[], ema=ema).params
    for ema in (None, True, False)
  )
  jax.tree.map(np.testing.assert_array_equal, default, average)
  scale = "encoder", "text_encoder", "layer_0", "mlp_in", "kernel"
  one, other = average, parameters
  for name in scale:
    one, other = one[name], other[name]
  assert 0 < np.abs(one - other).max() < 0.1


def test_words_for_a_mask(trained):
  workdir, _ = trained
  model = ib.load(workdir)
  count = model.run.model.vocab_size
  for image in (None, "im0"):
    first, second = model.fill("a [MASK] on the [MASK]", image, top=count)
    for words in (first, second):
      chances = [word.probability for word in words]
      assert chances == sorted(chances, reverse=True)
      assert sum(chances) == pytest.approx(1, abs=1e-5)
      assert len({word.word for word in words}) == count
    assert first != second
  assert model.fill("a [MASK]") != model.fill("a [MASK]", "im0")
  with pytest.raises(ConfigError, match=r"wanted one \[MASK\] or more"):
    model.fill("a dog")
  with pytest.raises(ConfigError, match="9 tokens; wanted at most 8"):
    model.fill("a [MASK] on the red dog man")
