"""Every configuration loads, says how to run it, and trains."""

import importlib
import inspect
import pathlib

import pytest
from absl import flags
from ml_collections import config_flags

from configs import common, finetuning
from interbert_jax.app.train import run_training
from interbert_jax.model.config import make_config
from interbert_jax.run.metric_writer import read_metrics
from interbert_jax.training.optim import make_optimizer
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
  if path.stem not in ("__init__", "common", "finetuning")
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
  base = common.base_config()
  if config.task.name != "pretrain":
    base = getattr(finetuning, config.task.name)(base)
  assert keys == {key for key, _ in leaves(base)}
  # Lists cannot be overridden on the command line.
  assert not [key for key, value in leaves(config) if isinstance(value, list)]
  with pytest.raises(ValueError, match="wanted"):
    module.get_config("nonsense")


@pytest.mark.parametrize(
  ("module", "first"),
  [
    (common, "def base_config() -> ConfigDict:"),
    (finetuning, "def retrieval(config: ConfigDict) -> ConfigDict:"),
  ],
)
def test_every_key_has_a_comment(module, first):
  """On its line, or on a line of comments above it or its group."""
  lines = pathlib.Path(module.__file__).read_text().splitlines()
  body = lines[lines.index(first) :]
  explained = False
  for line in body:
    stripped = line.strip()
    if not stripped or stripped.endswith("ConfigDict()"):
      explained = False
    elif stripped.startswith("#"):
      explained = True
    elif stripped.startswith("config."):
      obvious = stripped.split(" = ")[0].rsplit(".", 1)[1] in OBVIOUS
      assert explained or "#" in stripped or obvious, line


# Their names say what the comment would.
OBVIOUS = {
  "hidden_size",
  "num_interaction_layers",
  "num_text_layers",
  "num_region_layers",
  "region_num_heads",
  "mlp_dim",
  "region_mlp_dim",
  "max_position_embeddings",
  "type_vocab_size",
  "pooler_dim",
  "hidden_dropout",
  "attention_dropout",
  "region_hidden_dropout",
  "region_attention_dropout",
  "pooled_dropout",
  "initializer_range",
  "b1",
  "b2",
  "eps",
}


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


def test_the_optimiser_on_the_command_line(monkeypatch):
  words = [f"--config.{key}={text}" for key, (text, _) in OVERRIDES.items()]
  # ml_collections looks at the words themselves for what is overridden.
  monkeypatch.setattr("sys.argv", ["main.py", *words])
  values = flags.FlagValues()
  found = config_flags.DEFINE_config_dict(
    "config", common.base_config(), flag_values=values
  )
  values(["main.py", *words])
  config = dict(leaves(found.value))
  wanted = {key: value for key, (_, value) in OVERRIDES.items()}
  assert {key: config[key] for key in wanted} == wanted
  optim_keys = {key for key in config if key.startswith("optim.")}
  assert optim_keys <= set(OVERRIDES)


def test_every_key_of_the_optimiser_is_read():
  """The section goes whole to its owner: neither side has a key more."""
  found = inspect.signature(make_optimizer).parameters
  known = set(found) - {"params", "total_steps", "steps_per_epoch"}
  assert known == set(common.base_config().optim)
