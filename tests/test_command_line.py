"""Mistakes of a user end in one message that names them, and status 2."""

import subprocess
import sys

import pytest

from configs import quickstart
from input_pipeline.errors import DataError
from interbert_jax.errors import CheckpointError, ConfigError
from tests import tiny_data
from tests.conftest import ROOT
from tools.experiment import read_run_config
from tools.run_training import run_training


def command(*arguments):
  return subprocess.run(
    (sys.executable, *arguments),
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=300,
  )


QUICKSTART = "--config=configs/quickstart.py"


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ((QUICKSTART, "--config.optim.lrr=1"), 'Did you mean "lr" instead of'),
    ((QUICKSTART, "--config.zzzz=1"), "unknown configuration key: 'zzzz'"),
    ((QUICKSTART, "--config.optim.lr=fast"), "--config.optim.lr=fast: could"),
    ((QUICKSTART, "--config.train.steps=1.5"), "config.train.steps=1.5: "),
    ((QUICKSTART, "--wrkdir=x"), "flag 'wrkdir'. Did you mean: workdir"),
    ((QUICKSTART, "stray"), "unexpected argument 'stray'; flags look like"),
    ((f"{QUICKSTART}:mars",), "quickstart:mars: wanted openmoji or shapes"),
    (("--config=configs/none.py",), "No such file or directory: 'configs/none"),
    ((), "--config must have a value"),
  ],
)
def test_mistakes_in_flags(arguments, message):
  done = command("main.py", *arguments)
  assert message in done.stderr
  assert_one_error(done)


def assert_one_error(done):
  """One message, nothing before it, and no traceback."""
  assert done.stderr.startswith("error: ")
  assert done.stderr.count("error:") == 1
  assert len(done.stderr.splitlines()) <= 2
  assert "Traceback" not in done.stderr
  assert (done.returncode, done.stdout) == (2, "")


def test_a_missing_store_through_the_whole_command(tmp_path):
  workdir, store = tmp_path / "run", tmp_path / "nowhere"
  done = command(
    "main.py",
    QUICKSTART,
    f"--workdir={workdir}",
    f"--config.input.store={store}",
    "--config.train.batch_size=64",
  )
  assert f"{store}: no such directory" in done.stderr
  assert "python -m tools.sample_data" in done.stderr
  assert_one_error(done)
  assert not workdir.exists()


def test_evaluation_of_no_run(tmp_path):
  done = command("eval_retrieval.py", f"--workdir={tmp_path}")
  assert f"{tmp_path}/config.json: not found" in done.stderr
  assert_one_error(done)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
  root = tmp_path_factory.mktemp("data")
  tiny_data.write_tiny_store(root / "store", tiny_data.make_records(12))
  tiny_data.write_captions(root / "captions.jsonl", train=9)
  tiny_data.write_captions(root / "surplus.jsonl", train=9, val=5)
  tiny_data.write_vocab(root / "vocab.txt")
  (root / "captions.csv").write_text("image,caption\n1.jpg,a dog\n")
  return root


@pytest.fixture
def config(paths):
  """A run that only lacks steps of a small model."""
  config = quickstart.get_config()
  config.input.store = str(paths / "store")
  config.input.annotations = str(paths / "captions.jsonl")
  config.input.vocab = str(paths / "vocab.txt")
  config.train.batch_size = 16
  config.train.steps = 2
  config.evals.batch_size = 16
  config.evals.pairs_per_step = 16
  return config


@pytest.mark.parametrize(
  ("changes", "error", "message"),
  [
    (
      {"input.annotations": "{root}/none.jsonl"},
      DataError,
      "{root}/none.jsonl: no such annotation file",
    ),
    (
      {"input.annotations": "{root}/captions.csv"},
      DataError,
      "captions.csv: found 'image,caption', wanted one of",
    ),
    (
      {"input.vocab": "{root}/none.txt"},
      DataError,
      "{root}/none.txt: no such vocabulary file",
    ),
    (
      {"input.annotations": "{root}/surplus.jsonl"},
      DataError,
      "{root}/surplus.jsonl: record split 'val': 2 of 5 images are not in "
      "{root}/store, such as im12, im13",
    ),
    (
      {"input.train_split": "dev"},
      DataError,
      "no split 'dev'; the file has 'train' (9 images), 'val' (3 images)",
    ),
    ({"input.max_text_length": 2}, DataError, "found 2, wanted at least 3"),
    ({"input.max_regions": 0}, DataError, "found 0, wanted at least 1"),
    (
      {"model.region_feature_dim": 2048},
      ConfigError,
      "model.region_feature_dim is 2048, but the data has 6",
    ),
    ({"model.vocab_size": 3}, ConfigError, "model.vocab_size is 3, but the"),
    (
      {"model.hidden_size": 66},
      ConfigError,
      "hidden_size 66 cannot be split into num_heads 4",
    ),
    ({"model.size": "huge"}, ConfigError, "'huge' is unknown; sizes: ['tiny'"),
    (
      {"task.mrm_loss": "l2"},
      ConfigError,
      "mrm_loss 'l2'; wanted kl, hard, hard_confidence",
    ),
    (
      {"train.steps": None},
      ConfigError,
      "train.steps is None and train.epochs is None; set exactly one",
    ),
    (
      {"train.epochs": 2.0},
      ConfigError,
      "train.steps is 2 and train.epochs is 2.0; set exactly one",
    ),
    ({"train.steps": 0}, ConfigError, "the run has 0 steps; wanted at least 1"),
    (
      {"train.batch_size": 12},
      ConfigError,
      "train.batch_size is 12, which 8 devices cannot share equally; "
      "the nearest sizes are [8, 16]",
    ),
    (
      {"train.batch_size": 24},
      DataError,
      "found 18 examples in split 'train', wanted at least one batch of 24",
    ),
    ({"data_checks": "no"}, ConfigError, "data_checks is 'no'; wanted one of"),
    ({"train.batch_size": 0}, ConfigError, "train.batch_size is 0"),
    ({"evals.batch_size": 100}, ConfigError, "evals.batch_size is 100"),
    ({"evals.pairs_per_step": 9}, ConfigError, "evals.pairs_per_step is 9"),
    (
      {"parallel.mode": "tpu"},
      ConfigError,
      "parallel.mode is 'tpu'; wanted one of ['jit', 'pmap']",
    ),
    (
      {"optim.warmup_fraction": 1.5},
      ConfigError,
      "optim.warmup_fraction is 1.5; wanted a share from 0 to 1",
    ),
  ],
)
def test_mistakes_in_a_configuration(
  paths, config, tmp_path, changes, error, message
):
  """They are found before anything is written."""
  for key, value in changes.items():
    if isinstance(value, str):
      value = value.format(root=paths)
    with config.unlocked():
      config.update_from_flattened_dict({key: value})
  with pytest.raises(error) as caught:
    run_training(config, tmp_path / "run")
  assert message.format(root=paths) in str(caught.value)
  assert not (tmp_path / "run").exists()


def test_a_damaged_run_configuration(tmp_path):
  (tmp_path / "config.json").write_text('{"seed": ')
  with pytest.raises(ConfigError, match="config.json: not JSON"):
    read_run_config(tmp_path)


def test_user_errors_are_those_that_commands_catch():
  from tools.command_line import _user_errors

  assert set(_user_errors()) == {ConfigError, CheckpointError, DataError}


def test_bad_data_stops_a_run_before_it_begins(paths, config, tmp_path, capsys):
  """The same finding as the check command's, unless it is to be a warning."""
  store = tmp_path / "store"
  tiny_data.write_tiny_store(store, tiny_data.make_records(12))
  ids = store / "image_ids.txt"
  ids.write_text(ids.read_text().replace("im3\nim4", "im4\nim3"))
  config.input.store = str(store)
  config.input.cache_bytes = 0  # or the first record read would end it before
  with pytest.raises(DataError) as caught:
    run_training(config, tmp_path / "run")
  words = str(caught.value)
  assert words.startswith(f"{store}: found what must be put right before")
  assert "D2         image_id: found the record of 'im3'" in words
  assert "--config.data_checks=warn" in words
  assert not (tmp_path / "run").exists()
  config.data_checks = "warn"
  config.optim.warmup_fraction = 1.5  # stops it behind the checks
  with pytest.raises(ConfigError, match="warmup_fraction"):
    run_training(config, tmp_path / "run")
  assert "D2         image_id" in capsys.readouterr().err
