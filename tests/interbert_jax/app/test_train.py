"""What a run refuses before it begins: all that is wrong, in one message."""

import pytest

from configs import pretrain_en, quickstart_retrieval
from interbert_jax.app import overrides
from interbert_jax.app.train import run_training
from interbert_jax.contract.errors import ConfigError, UserError
from tests.support import tiny_data
from tests.support.random_run import set_tiny


@pytest.fixture
def files(tmp_path):
  """Features as LXMERT's are: without class probabilities."""
  tiny_data.write_tiny_store(
    tmp_path / "regions",
    tiny_data.make_records(12, class_probs=False),
    num_classes=None,
  )
  return {
    "store": tmp_path / "regions",
    "annotations": tiny_data.write_captions(tmp_path / "captions.jsonl", val=4),
    "vocab": tiny_data.write_vocab(tmp_path / "vocab.txt"),
    "train_split": "train",
    "max_regions": 4,
    "max_text_length": 8,
  }


def refusal(config, workdir):
  """The lines of the one message that a run ends with."""
  with pytest.raises(UserError) as caught:
    run_training(config, workdir)
  assert not workdir.exists()
  return str(caught.value).splitlines()


def has_line(lines, *words):
  return any(all(word in line for word in words) for line in lines)


def test_settings_and_data_are_refused_together(files, tmp_path):
  config = set_tiny(pretrain_en.get_config("runlocal"), files)
  config.train.batch_size = 64
  config.evals.split = "dev"
  config.checkpoint.best_metric = "val/loss"
  config.init_from = str(tmp_path / "nothing")
  lines = refusal(config, tmp_path / "workdir")
  assert lines[0] == "there are 5 mistakes:"
  assert has_line(lines, "checkpoint.best_metric", "'val/loss'", "dev/loss")
  assert has_line(lines, f"{tmp_path}/nothing", "no such file", "init_from")
  assert has_line(lines, "regions", "class_probs", "mrm_loss=features")
  assert has_line(lines, "captions.jsonl", "dev", "train", "val")
  assert has_line(lines, "64", "batch_size")


def test_missing_files_are_said_together(files, tmp_path):
  config = set_tiny(quickstart_retrieval.get_config("shapes"), files)
  config.input.vocab = str(tmp_path / "no_vocab.txt")
  config.input.store = str(tmp_path / "no_store")
  config.input.annotations = str(tmp_path / "no_captions.jsonl")
  lines = refusal(config, tmp_path / "workdir")
  assert lines[0] == "there are 3 mistakes:"
  for name in ("no_vocab.txt", "no_store", "no_captions.jsonl"):
    assert has_line(lines, name)


def test_images_without_regions_do_not_hide_the_rest(files, tmp_path):
  tiny_data.write_captions(files["annotations"], train=13, val=4)
  config = set_tiny(quickstart_retrieval.get_config("shapes"), files)
  config.evals.split = "dev"
  config.train.batch_size = 64
  lines = refusal(config, tmp_path / "workdir")
  assert has_line(lines, "im12", "on_missing")
  assert has_line(lines, "captions.jsonl", "dev")
  assert has_line(lines, "64", "batch_size")


def test_a_metric_must_be_one_of_the_task(files, tmp_path):
  config = set_tiny(pretrain_en.get_config("runlocal"), files)
  config.task.mrm_loss = "features"
  config.checkpoint.best_metric = "val/los"
  lines = refusal(config, tmp_path / "workdir")
  assert has_line(lines, "'val/los'", "val/loss", "empty for none")


@pytest.mark.parametrize(
  ("config", "typed", "metric"),
  [
    (quickstart_retrieval, {}, "dev/TR@1"),
    (quickstart_retrieval, {"checkpoint.best_metric": "x/y"}, "val/TR@1"),
  ],
)
def test_the_best_step_is_that_of_a_typed_split(config, typed, metric):
  config = config.get_config("shapes")
  config.checkpoint.best_metric = "val/TR@1"
  config.evals.split = "dev"
  overrides.follow_typed_split(config, typed | {"evals.split": "dev"})
  assert config.checkpoint.best_metric == metric


def test_the_suffix_of_a_metric_stays():
  config = pretrain_en.get_config("runlocal")
  config.checkpoint.best_metric = "val_retrieval/TR@1"
  overrides.follow_typed_split(config, {"evals.split": "test"})
  assert config.checkpoint.best_metric == "test_retrieval/TR@1"


def test_a_workdir_that_cannot_be_is_said_with_the_settings(tmp_path):
  config = pretrain_en.get_config("runlocal")
  config.optim.lr = -1.0
  (tmp_path / "file").write_text("")
  with pytest.raises(ConfigError) as caught:
    run_training(config, tmp_path / "file")
  lines = str(caught.value).splitlines()
  assert lines[0] == "there are 2 mistakes:"
  assert has_line(lines, "optim.lr") and has_line(lines, "--workdir")
