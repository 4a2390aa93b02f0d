"""What a run refuses before it begins: all that is wrong, in one message."""

import pytest

from configs import pretrain_en, quickstart_retrieval
from interbert_jax.app import overrides
from interbert_jax.app.train import run_training
from interbert_jax.contract.errors import ConfigError, UserError
from tests.interbert_jax.app.test_validate import base, filled, refusal
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


def start(config, workdir):
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
  lines = start(config, tmp_path / "workdir")
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
  lines = start(config, tmp_path / "workdir")
  assert lines[0] == "there are 3 mistakes:"
  assert sum("no_store" in line for line in lines) == 1
  for name in ("no_vocab.txt", "no_store", "no_captions.jsonl"):
    assert has_line(lines, name)


def test_images_without_regions_do_not_hide_the_rest(files, tmp_path):
  tiny_data.write_captions(files["annotations"], train=13, val=4)
  config = set_tiny(quickstart_retrieval.get_config("shapes"), files)
  config.evals.split = "dev"
  config.train.batch_size = 64
  lines = start(config, tmp_path / "workdir")
  assert has_line(lines, "im12", "on_missing")
  assert has_line(lines, "captions.jsonl", "dev")
  assert has_line(lines, "64", "batch_size")


def test_a_metric_must_be_one_of_the_task(files, tmp_path):
  config = set_tiny(pretrain_en.get_config("runlocal"), files)
  config.task.mrm_loss = "features"
  config.checkpoint.best_metric = "val/los"
  lines = start(config, tmp_path / "workdir")
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


# Settings alone


def test_keys_and_types_of_plain_dicts():
  config = base("pretrain").to_dict()
  config["optim"]["lrr"] = 3
  config["seed"] = None
  config["train"]["steps"] = 2.5
  config["train"]["log_every"] = True
  config["input"]["store"] = 7
  config["parallel"] = "jit"
  words = refusal(config)
  assert words.splitlines()[0] == "there are 6 mistakes:"
  assert sorted(words.splitlines()[1:]) == [
    "  input.store is 7; wanted words",
    "  optim.lrr is no key; did you mean optim.lr?",
    "  parallel is 'jit'; wanted a section",
    "  seed is None; wanted a whole number, 0 to 4294967295",
    "  train.log_every is True; wanted a whole number, 1 or more",
    "  train.steps is 2.5; wanted a whole number, 1 or more, or None",
  ]
  assert refusal({}).startswith("task.name is None; wanted one of pretrain")


@pytest.mark.parametrize(
  ("changes", "named"),
  [
    ({"train.log_every": 0, "train.batch_size": 500}, 2),
    ({"task.mlm_rows": 0, "train.batch_size": 500}, 2),
    ({"input.max_regions": 0, "input.vocab": ""}, 2),
    ({"input.max_regions": 0, "model.num_heads": 7}, 2),
    ({"optim.b1": 2, "optim.warmup_steps": 10**9, "train.steps": 9}, 2),
    ({"optim": [], "train.batch_size": 500}, 2),
    (
      {
        "task.name": "pretrian",
        "model.size": "bsae",
        "evals.batch_size": 3,
        "input.vocab": "",
        "optim.lr": -1,
      },
      5,
    ),
  ],
)
def test_one_wrong_field_hides_no_other(changes, named):
  config = filled(pretrain_en.get_config("runlocal")).to_dict()
  for key, value in changes.items():
    section, _, name = key.partition(".")
    if name:
      config[section][name] = value
    else:
      config[section] = value
  words = refusal(config, devices=8)
  assert words.startswith(f"there are {named} mistakes:"), words
  shown = {key for key in changes if key in words or key == "train.steps"}
  assert shown | {"model.num_heads"} >= set(changes)


def test_what_follows_from_a_mistake_is_not_listed():
  config = filled(pretrain_en.get_config("runlocal")).to_dict()
  config["train"]["batch_size"] = 0
  words = refusal(config, devices=8)
  assert words == "train.batch_size is 0; wanted a whole number, 1 or more"


def test_one_mistake_is_one_line():
  """What would follow from it is not listed as well."""
  config = base("pretrain")
  config.model.num_heads = 0
  config.train.batch_size = 0
  assert refusal(config, devices=8).splitlines()[1:] == [
    "  train.batch_size is 0; wanted a whole number, 1 or more",
    "  model.num_heads is 0; wanted a whole number, 1 to 16777216, or None",
  ]


def test_mistakes_of_sections_and_between_them_are_listed_together():
  config = base("pretrain")
  config.optim.lr = -1.0
  config.train.batch_size = 12
  assert refusal(config, devices=8).splitlines()[1:] == [
    "  optim.lr is -1.0; wanted more than 0",
    "  train.batch_size is 12, which 8 devices cannot share equally; the "
    "nearest sizes are [8, 16]",
  ]
