"""Evaluations on two processes give what one process gives.

Held-out losses, as of eval_pretrain.py, are in test_hosts_training.py.
"""

import json
import re
import subprocess
import sys

import pytest

from configs import finetune_nlvr2, finetune_text, finetune_vcr, finetune_vqa
from tests.conftest import ROOT
from tests.interbert_jax.app.test_eval_task import write_mnli
from tests.support.pod import environment, finish, start_pod
from tests.support.random_run import save_random_run, set_tiny
from tests.support.result_schema import read_result
from tests.support.tiny_data import write_captions
from tests.support.tiny_questions import write_nlvr2, write_vcr, write_vqa
from tests.support.tiny_run import write_kdd, write_run

# What may differ between two runs of the same evaluation.
OWN = {"seconds", "date", "command", "environment", "versions", "git_hash"}


def write_runs(root):
  """The words of every evaluation, without its output, by name."""
  scored = write_run(root, images=11)
  write_captions(root / "captions.jsonl", train=4, val=7)
  for name, write, module, argument in (
    ("vcr", lambda path: write_vcr(path)[0], finetune_vcr, "both,runlocal"),
    ("vqa", write_vqa, finetune_vqa, "runlocal"),
    ("nlvr2", lambda path: write_nlvr2(path)[0], finetune_nlvr2, "runlocal"),
  ):
    (root / f"{name}_files").mkdir()
    config = set_tiny(
      module.get_config(argument), write(root / f"{name}_files")
    )
    save_random_run(root / name, config)

  write_mnli(root / "MNLI")
  config = finetune_text.get_config("mnli,runlocal")
  files = {"directory": root / "MNLI", "vocab": root / "vocab.txt"}
  files |= {"max_text_length": 10}
  save_random_run(root / "mnli", set_tiny(config, files))
  return {
    "retrieval": ["eval_retrieval.py", f"--workdir={scored}", "--split=val"],
    "kdd": [
      "interbert_jax/app/ranking/eval_kdd.py",
      f"--workdir={scored}",
      *write_kdd(root),
    ],
    **{
      name: ["eval_task.py", f"--workdir={root / name}"]
      for name in ("vcr", "vqa", "nlvr2", "mnli")
    },
  }


def test_two_hosts_measure_as_one(tmp_path):
  commands = write_runs(tmp_path)
  words = {}
  for number in ("one", "two"):
    file = tmp_path / f"{number}.json"
    outputs = {
      n: f"--output={tmp_path / f'{n}_{number}.json'}" for n in commands
    }
    file.write_text(json.dumps([[*c, outputs[n]] for n, c in commands.items()]))
    words[number] = ("-m", "tests.support.many_commands", file)
  pod = start_pod(2, *words["two"])
  one = subprocess.run(
    (sys.executable, *words["one"]),
    cwd=ROOT,
    env=environment(),
    capture_output=True,
    text=True,
  )
  told, _ = finish(pod)
  assert one.returncode == 0, one.stderr
  # One of them writes and speaks.
  assert not re.findall(r"^\[1\] (?!\[Gloo)", told, re.M) and told.count(
    "_two.json"
  ) == len(commands)
  for name in commands:
    single, found = (
      {
        key: value
        for key, value in read_result(tmp_path / f"{name}_{n}.json").items()
        if key not in OWN
      }
      for n in ("one", "two")
    )
    metrics = {k: pytest.approx(v) for k, v in single.pop("metrics").items()}
    assert found.pop("metrics") == metrics, name
    counted = {k: v for k, v in single.items() if k.startswith("n_")}
    assert counted and {k: found[k] for k in counted} == counted, name
