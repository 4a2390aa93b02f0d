"""All that is wrong with a configuration is said at once, without data."""

import dataclasses
import importlib
import json
import math

import jax
import pytest

from configs import common, pretrain_en_official, quickstart
from interbert_jax.app.validate import validate
from interbert_jax.checkpoints.settings import CheckpointSettings
from interbert_jax.contract.errors import ConfigError
from tests.support.scripts import run_python
from tests.test_configs import NAMES, leaves

ON_A_POD = {
  "finetune_coco": ("match", "choice", "triplet", "runlocal"),
  "finetune_flickr30k": ("official", "choice", "triplet", "triplet,runlocal"),
  "finetune_nlvr2": ("", "runlocal"),
  "finetune_retrieval_zh": ("match", "official,runlocal"),
  "finetune_snli_ve": ("", "runlocal"),
  "finetune_text": ("sst2", "mnli", "stsb", "own", "tnews", "qqp,runlocal"),
  "finetune_vcr": ("both", "answer", "rationale", "official", "runlocal"),
  "finetune_vqa": ("", "runlocal"),
  "pretrain_en": ("", "mixed", "runlocal", "mixedrunlocal"),
  "pretrain_en_large": ("", "runlocal"),
  "pretrain_en_official": ("", "runlocal"),
  "pretrain_zh": ("", "runlocal"),
}
ON_A_LAPTOP = {
  "quickstart": ("openmoji", "shapes"),
  "quickstart_minilm": ("minilm", "random"),
  "quickstart_retrieval": ("openmoji", "shapes"),
  "quickstart_text": ("kinds", "pairs", "overlap", "pairs_zh,shapes"),
  "quickstart_vcr": ("openmoji", "shapes"),
  "quickstart_vqa": ("openmoji", "shapes"),
  "quickstart_zh": ("openmoji", "shapes"),
}
FILES = ("store", "annotations", "vocab", "directory", "near_images")


def filled(config):
  """With names of files where a user gives them on the command line."""
  for key in FILES:
    if key in config.input:
      config.input[key] = config.input[key] or "somewhere"
  if config.optim.rate_groups:
    config.init_from = config.init_from or "somewhere"
  return config


def refusal(config, **machine) -> str:
  with pytest.raises(ConfigError) as caught:
    validate(config, **{"devices": 1, "hosts": 1, **machine})
  return str(caught.value)


def test_none_is_forgotten():
  assert sorted([*ON_A_POD, *ON_A_LAPTOP]) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_configuration_passes_with_every_argument(name):
  module = importlib.import_module(f"configs.{name}")
  arguments = {**ON_A_POD, **ON_A_LAPTOP}[name]
  for argument in arguments:
    config = filled(module.get_config(argument))
    for devices in (1, 8) if name in ON_A_POD else (1,):
      validate(config, devices=devices, hosts=1)
    # As config.json in a workdir has it: lists, and no types.
    validate(json.loads(json.dumps(config.to_dict())), devices=1, hosts=1)


def base(task: str):
  config = common.base_config(task)
  config.train.steps = 10
  config.evals.every = 0
  return filled(config)


def section_of(config, key):
  """The section that a key is in, and its name there."""
  *sections, name = key.split(".")
  for section in sections:
    config = config[section]
  return config, name


def set_key(config, key, value):
  section, name = section_of(config, key)
  section[name] = value


def kind(config, key):
  section, name = section_of(config, key)
  return section.get_type(name)


TUPLES = (
  "init.layers",
  "init.region_layers",
  "optim.milestones",
  "task.text_masking.segment_length_probs",
)


@pytest.mark.parametrize("task", sorted(common.TASKS))
def test_every_number_has_a_range(task):
  """-2, infinity and NaN are refused for every key, and by its name."""
  keys = [key for key, _ in leaves(base(task))]
  numbers = [k for k in keys if kind(base(task), k) in (int, float)]
  assert len(numbers) > 30
  for key in numbers:
    values = (
      [-2] if kind(base(task), key) is int else [-2.0, math.nan, math.inf]
    )
    for value in values:
      config = base(task)
      if key == "train.epochs":
        config.train.steps = None
      set_key(config, key, value)
      assert key.rpartition(".")[2] in refusal(config), (key, value)
  for key in set(TUPLES) & set(keys):
    for value in ((-2,), (math.nan,), ("a",)):
      config = base(task)
      set_key(config, key, value)
      assert key.rpartition(".")[2] in refusal(config), (key, value)


CHOICES = {
  "pretrain": (
    "data_checks init.format input.captions.format input.captions.on_missing "
    "input.captions.on_bad_caption input.word_boundaries optim.algorithm "
    "optim.schedule optim.decay_on optim.clip parallel.mode parallel.sharding "
    "checkpoint.best_mode checkpoint.best_metric task.text_masking.rule "
    "task.region_masking.rule task.mrm_loss task.global_region task.name "
    "model.size model.dtype model.remat model.fusion optim.milestone_unit"
  ),
  "retrieval": "task.loss",
  "snli_ve": "task.join",
  "text": "input.task input.on_bad_row",
}


@pytest.mark.parametrize("task", sorted(CHOICES))
def test_every_choice_is_known(task):
  for key in CHOICES[task].split():
    config = base(task)
    set_key(config, key, "nonsense")
    words = refusal(config)
    assert "nonsense" in words and len(words.splitlines()) == 1, words


PAIRS = [
  ("pretrain", {"model.hidden_size": 104}, "into num_heads 12 equal heads"),
  ("pretrain", {"train.batch_size": 12}, "which 8 devices cannot share"),
  ("pretrain", {"evals.batch_size": 100}, "evals.batch_size is 100"),
  ("pretrain", {"train.accumulate_steps": 3}, "wanted a divisor of"),
  ("pretrain", {"train.accumulate_steps": 128}, "is 4, which 8 devices"),
  ("pretrain", {"train.accumulate_steps": 32}, "task.group_size=32; their"),
  ("pretrain", {"parallel.mode": "pmap", "task.group_size": 128}, "groups of"),
  (
    "pretrain",
    {"input.shares": 3, "train.batch_size": 480},
    "a multiple of the 2 hosts",
  ),
  ("pretrain", {"input.shares": 6}, "multiple of the 6 shares"),
  ("pretrain", {"task.text_masking.random_prob": 0.3}, "sum of at most 1"),
  ("pretrain", {"optim.milestones": (4, 2)}, "wanted rising numbers"),
  ("pretrain", {"optim.rate_groups": (("a", -1),)}, "wanted 0 (frozen)"),
  ("pretrain", {"optim.rate_groups": (("(", 1),)}, "regular expression"),
  ("pretrain", {"train.steps": 2**30}, "exceed the int32 position"),
  ("pretrain", {"evals.retrieval_images": 0}, "no evaluation gives"),
  ("vcr", {"input.objectives": ("answer",)}, "no evaluation gives"),
  ("vcr", {"input.objectives": ()}, "found none, wanted some of answer"),
  ("vcr", {"input.objectives": (1,)}, "a tuple, each of it words"),
  ("pretrain", {"init.layers": (1.5,)}, "each of it a whole number"),
  ("vcr", {"model.type_vocab_size": 1}, "texts in pairs need 2"),
  ("vcr", {"input.max_answer_length": 4}, "wanted at least 5"),
  ("text", {"input.labels": ("a", "b")}, "sst2 has labels of its own"),
  ("text", {"input.directory": ""}, "input.directory is empty"),
  ("retrieval", {"task.hardest": 2}, "with task.loss=match"),
  ("retrieval", {"input.near_images": ""}, "mine them with"),
  ("retrieval", {"evals.retrieval_images": 0}, "wanted 1 or more"),
  (
    "retrieval",
    {f"input.{k}": 0 for k in ("random_texts", "hard_texts", "random_images")},
    "something to tell a pair from",
  ),
]


@pytest.mark.parametrize(("task", "changes", "words"), PAIRS)
def test_what_does_not_go_together(task, changes, words):
  config = base(task)
  if "evals.retrieval_images" in changes and task == "pretrain":
    config.checkpoint.best_metric = "val_retrieval/image_retrieval_recall@1"
    validate(config, devices=8, hosts=2)
  for key, value in changes.items():
    set_key(config, key, value)
  found = refusal(config, devices=8, hosts=2)
  assert words in found and len(found.splitlines()) == 1, found


def test_corpora():
  config = base("pretrain")
  config.input.corpora.one = common.corpus(store="a", annotations="b")
  config.input.corpora.two = common.corpus(text="c", weight=1.0)
  assert "give every corpus a weight, or none" in refusal(config)
  config.input.corpora.one.weight = 2.0
  validate(config, devices=1, hosts=1)
  config.input.corpora.one.stores = "d"
  config.input.corpora.two.weight = math.nan
  assert refusal(config).splitlines()[1:] == [
    "  input.corpora.one.stores is no key; did you mean "
    "input.corpora.one.store?",
    "  input.corpora.two.weight is nan; wanted a finite number: more than 0, "
    "or None",
  ]


def test_a_missing_key_has_its_default():
  config = base("pretrain").to_dict()
  del config["evals"]["split"], config["init"]
  found = validate(config, devices=1, hosts=1)
  assert (found.evals.split, found.init.format) == ("val", "auto")


@pytest.mark.parametrize("task", ["vqa", "nlvr2", "retrieval", "text"])
def test_a_missing_section_has_the_defaults_of_its_task(task):
  config = base(task).to_dict()
  want = validate(config, devices=1, hosts=1)
  gone = {k: v for k, v in config.items() if k not in ("checkpoint", "evals")}
  found = validate(gone, devices=1, hosts=1)
  assert found.checkpoint == want.checkpoint
  assert dataclasses.replace(found.evals, every=want.evals.every) == want.evals


def test_the_devices_are_those_of_jax():
  config = filled(quickstart.get_config())
  config.evals.batch_size = 100
  with pytest.raises(ConfigError, match=f"which {jax.device_count()} devices"):
    validate(config)


def test_it_needs_no_tensorflow_and_no_time():
  code = """
import sys, time
from configs import pretrain_en
from interbert_jax.app.validate import validate
config = pretrain_en.get_config()
began = time.process_time()  # of this process, however busy the machine is
validate(config, devices=8, hosts=1)
assert time.process_time() - began < 3
assert "tensorflow" not in sys.modules
"""
  done = run_python("-c", code)
  assert done.returncode == 0, done.stderr


def test_a_tenth_of_the_rate_is_for_weights():
  """Officially those of BERT; from random parameters little is learnt."""
  config = pretrain_en_official.get_config()
  for key in ("store", "annotations", "vocab"):
    config.input[key] = "somewhere"
  refused = refusal(config)
  assert "0.1 of it" in refused and "init_from=random" in refused
  for told in ("random", "bert-base-uncased"):
    config.init_from = told
    validate(config, devices=1, hosts=1)
  config.init_from, config.optim.rate_groups = "", ()
  validate(config, devices=1, hosts=1)


@pytest.mark.parametrize(
  ("metric", "mode", "sign"),
  [
    ("val/loss", None, -1),
    ("val_retrieval/image_retrieval_median_rank", None, -1),
    ("val/perplexity", None, -1),
    ("val/Q->AR", None, 1),
    ("val_retrieval/rsum", None, 1),
    ("val/mcc", None, 1),
    ("val/deviation", "min", -1),
  ],
)
def test_the_best_end_of_a_metric(metric, mode, sign):
  settings = CheckpointSettings(best_metric=metric, best_mode=mode)
  assert settings.sign == sign


@pytest.mark.parametrize(
  ("metric", "mode"),
  [("val_retrieval/image_retrieval_recall@1", "min"), ("val/loss", "max")],
)
def test_the_wrong_end_of_a_metric_is_refused(metric, mode):
  config = filled(quickstart.get_config())
  config.checkpoint.best_metric, config.checkpoint.best_mode = metric, mode
  assert "leave best_mode out" in refusal(config)
