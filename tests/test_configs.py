"""Every configuration loads, says how to run it, and trains."""

import importlib
import pathlib

import pytest
from absl import flags
from ml_collections import config_flags

from configs import common
from interbert_jax.app import overrides
from interbert_jax.app.train import run_training
from interbert_jax.app.validate import read_experiment
from interbert_jax.contract.errors import ConfigError
from interbert_jax.model.config import make_config
from interbert_jax.run.metric_writer import read_metrics
from tests.support.tiny_data import (
  make_records,
  write_captions,
  write_lines,
  write_tiny_store,
  write_vocab,
)

CONFIGS = pathlib.Path(common.__file__).parent
NAMES = sorted(
  path.stem
  for path in CONFIGS.glob("*.py")
  if path.stem not in ("__init__", "common")
)


def leaves(config, prefix=""):
  for key, value in config.items():
    if hasattr(value, "items"):
      yield from leaves(value, f"{prefix}{key}.")
    else:
      yield f"{prefix}{key}", value


@pytest.mark.parametrize("name", NAMES)
def test_it_loads_and_says_how_to_run_it(name):
  module = importlib.import_module(f"configs.{name}")
  assert f"--config=configs/{name}.py" in module.__doc__
  assert "Hardware" in module.__doc__
  config = module.get_config()
  keys = {key for key, _ in leaves(config)}
  base = common.base_config(config.task.name)
  assert keys == {key for key, _ in leaves(base)}
  # Lists cannot be overridden on the command line.
  assert not [key for key, value in leaves(config) if isinstance(value, list)]
  with pytest.raises(ValueError, match="wanted"):
    module.get_config("nonsense")


@pytest.mark.parametrize("task", common.TASKS)
def test_every_setting_is_explained(task):
  """In one line that reads alone: it begins with no word that points back."""
  lines = list(
    common.describe(common.experiment_class(task), common.base_config(task))
  )
  keys = {line.partition(" = ")[0] for line in lines}
  assert keys >= {key for key, _ in leaves(common.base_config(task))}
  for line in lines:
    about = line.partition(": ")[2]
    assert len(about) > 10 and not about.startswith(("of ", "Of ")), line


def test_pretraining_is_the_published_shape():
  config = importlib.import_module("configs.pretrain_en").get_config()
  assert make_config(config.model.size) == make_config("base")
  assert (config.train.batch_size, config.train.epochs) == (512, 15)
  assert (config.input.max_regions, config.input.max_text_length) == (36, 36)


# pretrain_en's loss is that of its relatives, which test_config_runs trains.
@pytest.mark.parametrize(("name", "mrm_loss"), [("pretrain_zh", "features")])
def test_pretraining_trains_two_steps_on_tiny_data(name, mrm_loss, tmp_path):
  """With class probabilities and without; the second on several corpora."""
  with_probs = mrm_loss == "kl"
  write_tiny_store(
    tmp_path / "regions",
    make_records(11, class_probs=with_probs),
    num_classes=5 if with_probs else None,
  )
  if name == "pretrain_en":
    write_captions(tmp_path / "captions.jsonl")
    write_vocab(tmp_path / "vocab.txt")
  else:
    titles = ["夏季新款红色连衣裙", "男士跑鞋", "红色跑鞋 女"]
    write_lines(
      tmp_path / "captions.jsonl",
      [
        {
          "image_id": f"im{i}",
          "split": "train" if i < 8 else "val",
          "captions": [titles[i % 3]],
        }
        for i in range(11)
      ],
    )
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    characters = sorted(set("".join(titles)) - {" "})
    write_vocab(tmp_path / "vocab.txt", special + characters)
  config = importlib.import_module(f"configs.{name}").get_config("runlocal")
  config.input.store = str(tmp_path / "regions")
  config.input.annotations = str(tmp_path / "captions.jsonl")
  config.input.vocab = str(tmp_path / "vocab.txt")
  config.input.max_regions = 6
  config.input.max_text_length = 10
  config.task.mrm_loss = mrm_loss
  config.task.group_size = 8
  config.task.text_masking.rate = 0.5  # so that every batch has masked words
  config.train.steps = 2
  config.train.batch_size = 8
  config.train.log_every = 1
  config.evals.batch_size = 8
  config.evals.retrieval_images = 2 if with_probs else 0
  config.evals.pairs_per_step = 8
  config.checkpoint.save_every = 2
  if not with_probs:
    (tmp_path / "text.txt").write_text("红色连衣裙\n跑鞋\n" * 4, "utf-8")
    config.input.corpora.pairs = common.corpus(
      store=config.input.store, annotations=config.input.annotations
    )
    config.input.corpora.text = common.corpus(text=str(tmp_path / "text.txt"))
  final = run_training(config, tmp_path / "run")
  assert final["val/itm_loss"] > 0
  assert ("val_retrieval/image_retrieval_recall@1" in final) == with_probs
  rows = [row for row in read_metrics(tmp_path / "run") if "loss" in row]
  assert [row["step"] for row in rows] == [1, 2]
  assert all(row["mlm_loss"] > 0 and row["mrm_loss"] > 0 for row in rows)


# One override of every key of optim, and those of train and model with it.
OVERRIDES = {
  "model.remat": ("full", "full"),
  "train.accumulate_steps": ("4", 4),
  "train.ema_decay": ("0.9999", 0.9999),
  "train.max_skipped": ("3", 3),
  "optim.algorithm": ("bert_adam", "bert_adam"),
  "optim.lr": ("4e-5", 4e-5),
  "optim.schedule": ("official_constant", "official_constant"),
  "optim.warmup_fraction": ("0", 0.0),
  "optim.warmup_steps": ("7", 7),
  "optim.milestones": ("(12,16.5)", (12, 16.5)),
  "optim.milestone_unit": ("steps", "steps"),
  "optim.milestone_factor": ("0.5", 0.5),
  "optim.rate_groups": ("(('a|b/', 0.1), ('c', 0))", (("a|b/", 0.1), ("c", 0))),
  "optim.layer_decay": ("0.8", 0.8),
  "optim.weight_decay": ("0", 0.0),
  "optim.decay_on": ("biases_and_norms", "biases_and_norms"),
  "optim.clip": ("none", "none"),
  "optim.clip_norm": ("5", 5.0),
  "optim.b1": ("0.8", 0.8),
  "optim.b2": ("0.98", 0.98),
  "optim.eps": ("1e-8", 1e-8),
}


def typed_config(config, *words):
  """A configuration with a command line's words, and what they set."""
  overrides.accept_none()
  values, argv = flags.FlagValues(), ["main.py", *words]
  found = config_flags.DEFINE_config_dict(
    "config", config, flag_values=values, sys_argv=argv
  )
  values(argv)
  return found.value, values["config"].override_values


def test_the_optimiser_on_the_command_line():
  words = [f"--config.{key}={text}" for key, (text, _) in OVERRIDES.items()]
  found, _ = typed_config(common.base_config(), *words)
  config = dict(leaves(found))
  wanted = {key: value for key, (_, value) in OVERRIDES.items()}
  assert {key: config[key] for key in wanted} == wanted
  optim_keys = {key for key in config if key.startswith("optim.")}
  assert optim_keys <= set(OVERRIDES)


NONE = {
  "train.epochs": 3.0,  # a number
  "train.steps": 5,  # a whole number
  "model.fusion": "sum",  # words
  "input.captions.captions_per_image": 2,
}


@pytest.mark.parametrize("key", NONE)
def test_none_can_be_typed(key):
  config = common.base_config()
  *sections, name = key.split(".")
  section = config
  for part in sections:
    section = section[part]
  section[name] = NONE[key]
  found, typed = typed_config(config, f"--config.{key}=None")
  assert dict(leaves(found))[key] is None
  assert typed == {key: None}


def test_what_may_not_be_none_is_refused_by_its_name():
  config = common.base_config()
  config.train.steps = 1
  found, _ = typed_config(config, "--config.optim.lr=None")
  with pytest.raises(ConfigError, match="optim.lr is None; wanted more than 0"):
    read_experiment(found)


@pytest.mark.parametrize(
  ("typed", "wanted"),
  [
    (("steps=7",), (7, None)),
    (("epochs=2.5",), (None, 2.5)),
    (("steps=None", "epochs=2"), (None, 2)),
    (("steps=7", "epochs=2"), (7, 2)),  # which is refused
    (("log_every=3",), (None, 4)),
  ],
)
def test_the_length_that_is_typed_counts(typed, wanted):
  config = common.base_config()
  config.train.epochs = 4.0
  found, values = typed_config(config, *(f"--config.train.{t}" for t in typed))
  overrides.keep_typed_length(found, values)
  assert (found.train.steps, found.train.epochs) == wanted
