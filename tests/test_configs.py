"""Every configuration loads, says how to run it, and trains."""

import importlib
import pathlib

import numpy as np
import pytest
from absl import flags
from ml_collections import config_flags

from configs import (
  common,
  finetune_flickr30k,
  finetune_vcr,
  pretrain_en_official,
)
from interbert_jax.app import overrides
from interbert_jax.app.validate import read_experiment
from interbert_jax.contract.errors import ConfigError
from interbert_jax.model.config import make_config
from interbert_jax.run.metric_writer import read_metrics
from tests.support.random_run import train_two_steps
from tests.support.tiny_data import (
  make_records,
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


def test_chinese_pretraining_trains_two_steps_on_several_corpora(tmp_path):
  write_tiny_store(
    tmp_path / "regions",
    make_records(11, class_probs=False),
    num_classes=None,
  )
  titles = ["夏季新款红色连衣裙", "男士跑鞋", "红色跑鞋 女"]
  lines = [
    {
      "image_id": f"im{i}",
      "split": "train" if i < 8 else "val",
      "captions": [titles[i % 3]],
    }
    for i in range(11)
  ]
  special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
  characters = sorted(set("".join(titles)) - {" "})
  files = {
    "store": tmp_path / "regions",
    "annotations": write_lines(tmp_path / "captions.jsonl", lines),
    "vocab": write_vocab(tmp_path / "vocab.txt", special + characters),
    "max_regions": 6,
    "max_text_length": 10,
  }
  (tmp_path / "text.txt").write_text("红色连衣裙\n跑鞋\n" * 4, "utf-8")
  config = importlib.import_module("configs.pretrain_zh").get_config("runlocal")
  config.task.mrm_loss = "features"
  config.task.group_size = 8
  config.task.text_masking.rate = 0.5  # so that every batch has masked words
  config.evals.retrieval_images = 0
  config.input.corpora.pairs = common.corpus(
    store=str(files["store"]), annotations=str(files["annotations"])
  )
  config.input.corpora.text = common.corpus(text=str(tmp_path / "text.txt"))
  final = train_two_steps(config, files, tmp_path / "run")
  assert final["val/itm_loss"] > 0
  assert "val_retrieval/image_retrieval_recall@1" not in final
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
  config.update_from_flattened_dict({key: NONE[key]})
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


@pytest.mark.parametrize(
  "config",
  [
    finetune_flickr30k.get_config("official"),
    finetune_vcr.get_config("official"),
    pretrain_en_official.get_config(),
  ],
  ids=["flickr30k", "vcr", "pretrain"],
)
def test_official_means_all_of_it(config):
  """Optimiser, decay groups, clipping, schedule, precision."""
  optim = config.optim
  assert (optim.algorithm, optim.clip) == ("bert_adam", "per_parameter")
  assert (optim.decay_on, optim.weight_decay) == ("biases_and_norms", 0.01)
  assert optim.clip_norm == 1.0 and config.model.dtype == "float32"
  if config.task.name == "pretrain":
    assert optim.schedule == "official_linear"
    assert optim.rate_groups == ((common.BERT_PARAMETERS, 0.1),)
    return
  assert (optim.schedule, optim.rate_groups) == ("official_constant", ())
  assert config.train.ema_decay == 0.9999
  if config.task.name == "vcr":
    assert config.input.in_turn and config.train.batch_size == 32
    assert optim.warmup_fraction == 0.05  # counted in iterations of two updates


def test_spans_have_places_in_the_heads():
  """Groups of captions of 34 pieces, by the official rule of one span."""
  task = pretrain_en_official.get_config().task
  pieces, groups = 34, 4000
  rng = np.random.default_rng(0)
  start = rng.integers(0, pieces + 1, (groups, task.group_size))
  length = rng.integers(1, pieces + 1, start.shape)
  hidden = np.minimum(length, pieces - start).sum(1)
  assert hidden.mean() / task.group_size == pytest.approx(11.5, abs=0.1)
  places = task.mlm_rows * task.group_size
  assert hidden.max() <= places
  assert places > hidden.mean() + 4.9 * hidden.std()
