"""--set of the eval scripts: values by the type of what they replace."""

import re

import pytest

from interbert_jax.app.overrides import change_config
from interbert_jax.contract.errors import ConfigError

CONFIG = {
  "input": {
    "captions": {"captions_per_image": None},
    "store": "a",
    "shares": 1,
    "corpora": {"cc": {"weight": 1.0}},
  },
  "task": {
    "name": "pretrain",
    "conditional_masking": True,
    "text_masking": {"segment_length_probs": [0.5, 0.5]},
  },
  "optim": {"lr": 0.1},
  "model": {"fusion": "sum"},
  "train": {"steps": None, "epochs": 2.0},
}


@pytest.mark.parametrize(
  ("key", "text", "wanted"),
  [
    ("input.captions.captions_per_image", "2", 2),
    ("input.captions.captions_per_image", "None", None),
    ("input.store", "a=2", "a=2"),
    ("input.store", "2", "2"),
    ("input.shares", "4", 4),
    ("task.conditional_masking", "false", False),
    ("task.conditional_masking", "True", True),
    # JSON has lists for tuples.
    ("task.text_masking.segment_length_probs", "(0.2, 0.8)", [0.2, 0.8]),
    ("optim.lr", "1e-3", 1e-3),
    ("model.fusion", "None", None),
    ("train.epochs", "None", None),
    ("input.corpora.cc.weight", "None", None),
    ("train.ema_decay", "0.5", 0.5),  # the run is older than the setting
    ("init.skip", "('a', 'b')", ("a", "b")),
  ],
)
def test_values(key, text, wanted):
  found = change_config(CONFIG, [f"{key}={text}"])
  for part in key.split("."):
    found = found[part]
  assert found == wanted and type(found) is type(wanted)


def test_the_length_that_is_typed_counts():
  found = change_config(CONFIG, ["train.steps=3"])
  assert (found.train.steps, found.train.epochs) == (3, None)


def test_a_run_without_a_task_is_one_of_pretraining():
  found = change_config({"input": {"store": "a"}}, ["input.mismatch_prob=0"])
  assert (found.task.name, found.input.mismatch_prob) == ("pretrain", 0)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ("input.shares=two", "--set=input.shares=two: invalid literal"),
    ("task.conditional_masking=no", "wanted true or false"),
    ("task.text_masking.segment_length_probs=1", "wanted a tuple"),
    ("optim.lr=None", "could not convert string to float"),
    ("optim=1", "optim is a section"),
    ("input.stores=x", "no key 'stores'; keys: .*store"),
    ("inputs.store=x", "no key 'inputs'; keys: .*input"),
    ("input.store", "wanted --set=section.key=value"),
  ],
)
def test_mistakes(change, message):
  with pytest.raises(ValueError, match=message):
    change_config(CONFIG, [change])


@pytest.mark.parametrize(
  ("task", "words"),
  [
    (None, None),
    ("vqa", "task is 'vqa'; wanted a section"),
    ({"name": "vqaa"}, "task.name is 'vqaa'; wanted one of pretrain, "),
    ({"name": ["vqa"]}, "wanted one of"),
  ],
)
def test_a_file_with_an_odd_task_is_no_traceback(task, words):
  if words is None:
    assert change_config({"task": task}, []).task.name == "pretrain"
    return
  with pytest.raises(ConfigError, match=re.escape(words)):
    change_config({"task": task}, [])
