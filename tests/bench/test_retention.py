"""The retention table against numbers by hand, and what it refuses."""

import copy
import json

import numpy as np
import pytest
import scipy.stats

from bench import retention
from interbert_jax.contract.errors import ConfigError
from tests.support.result_schema import read_result


def result(dataset, seed, score, *, init_from="bert", **changes):
  config = {
    "seed": seed,
    "init_from": init_from,
    "init": {"skip": []},
    "optim": {"lr": 2e-5},
    "train": {"batch_size": 32, "log_every": 50},
    "input": {"task": dataset, "directory": f"/{init_from}", "vocab": "v"},
  }
  for key, value in changes.items():
    section, _, name = key.partition("__")
    config[section][name] = value
  return {
    "dataset": dataset,
    "step": 100,
    "n_examples": 400,
    "vocab_sha256": "ab",
    "pretrained": f"{init_from}/{dataset}{seed}/checkpoints/100",
    "metrics": {"score": score},
    "config": config,
  }


def make_set(scores, *, init_from):
  """Task -> seed -> result, of task -> {seed: score}."""
  return {
    task: {
      seed: result(task, seed, score, init_from=init_from)
      for seed, score in of_seed.items()
    }
    for task, of_seed in scores.items()
  }


BERT = {0: 0.70, 1: 0.74, 2: 0.72}
OURS = {0: 0.69, 1: 0.70, 2: 0.71}


def test_means_spreads_and_paired_differences():
  found = retention.compare(
    make_set({"rte": BERT, "cola": {0: 0.5}}, init_from="bert"),
    make_set({"rte": OURS, "mrpc": {0: 0.5}}, init_from="ours"),
  )
  row = found["tasks"]["rte"]
  assert row["bert"]["mean"] == pytest.approx(0.72)
  assert row["bert"]["sd"] == pytest.approx(0.02)
  assert row["ours"]["sd"] == pytest.approx(0.01)
  assert row["ours"]["init_from"] == ["ours"]
  # By seed: -0.01, -0.04, -0.01.
  assert row["difference"]["mean"] == pytest.approx(-0.02)
  wanted = scipy.stats.sem([-0.01, -0.04, -0.01])
  assert row["difference"]["standard_error"] == pytest.approx(wanted)
  assert row["difference"]["paired"]
  assert found["only_in_bert"] == ["cola"]
  assert found["only_in_ours"] == ["mrpc"]
  table = retention.to_markdown(found)
  assert "| rte | 3 | 72.0 ± 2.0 | 70.0 ± 1.0 | -2.0 ± 1.0 |" in table
  assert "| average | | 72.0 | 70.0 | -2.0 |" in table


def test_other_seeds_make_no_pairs():
  ours = {5: 0.69, 6: 0.70, 7: 0.71, 8: 0.70}
  found = retention.compare(
    make_set({"rte": BERT}, init_from="bert"),
    make_set({"rte": ours}, init_from="ours"),
  )
  difference = found["tasks"]["rte"]["difference"]
  # Welch's t is the difference over its standard error.
  test = scipy.stats.ttest_ind(
    list(ours.values()), list(BERT.values()), equal_var=False
  )
  error = difference["standard_error"]
  assert difference["mean"] / error == pytest.approx(test.statistic)
  assert not difference["paired"]


def test_one_seed_has_no_spread():
  found = retention.compare(
    make_set({"rte": {0: 0.5}, "cola": {0: 0.1}}, init_from="bert"),
    make_set({"rte": {0: 0.6}, "cola": {0: 0.0}}, init_from="ours"),
  )
  row = found["tasks"]["rte"]
  assert row["bert"]["sd"] is None
  assert row["difference"]["standard_error"] is None
  np.testing.assert_allclose(
    [found["average"][key] for key in ("bert", "ours", "difference")],
    [0.3, 0.3, 0],
    atol=1e-12,
  )
  assert "| rte | 1 | 50.0 | 60.0 | +10.0 |" in retention.to_markdown(found)


def test_other_fine_tuning_is_refused():
  bert = make_set({"rte": BERT}, init_from="bert")
  ours = make_set({"rte": OURS}, init_from="ours")
  changed = copy.deepcopy(ours)
  changed["rte"][1]["config"]["optim"]["lr"] = 5e-5
  changed["rte"][1]["step"] = 200
  with pytest.raises(ConfigError, match=r"(?s)optim.lr: 2e-05 and 5e-05.*step"):
    retention.compare(bert, changed)
  # Where the files are and how often is logged changes no score.
  ours["rte"][1]["config"]["train"]["log_every"] = 7
  retention.compare(bert, ours)
  with pytest.raises(
    ConfigError, match="no task is in both sets: rte and cola"
  ):
    retention.compare(bert, make_set({"cola": OURS}, init_from="ours"))


def write_run(folder, found, *, step=100):
  folder.mkdir(parents=True, exist_ok=True)
  (folder / "config.json").write_text(json.dumps(found["config"]))
  path = folder / "eval" / f"text_val_{step}.json"
  path.parent.mkdir(exist_ok=True)
  path.write_text(json.dumps(found))


def test_the_command_reads_the_newest_results(tmp_path, capsys):
  for seed in (0, 1):
    for side, score in (("bert", 0.8), ("ours", 0.7)):
      run = tmp_path / side / f"seed{seed}" / "rte"
      write_run(run, result("rte", seed, 0.1, init_from=side), step=90)
      write_run(run, result("rte", seed, score, init_from=side))
  arguments = [
    f"--bert={tmp_path / 'bert'}",
    f"--ours={tmp_path / 'ours'}",
    f"--output={tmp_path / 'out'}",
  ]
  assert retention.main(arguments) == 0
  row = "| rte | 2 | 80.0 ± 0.0 | 70.0 ± 0.0 | -10.0 ± 0.0 |"
  assert row in capsys.readouterr().out
  assert row in (tmp_path / "out" / "retention.md").read_text()
  found = read_result(tmp_path / "out" / "retention.json")
  assert found["tasks"]["rte"]["bert"]["seeds"] == [0, 1]
  write_run(tmp_path / "ours" / "again", result("rte", 1, 0.9))
  assert retention.main(arguments) == 2
  assert "both of rte with seed 1" in capsys.readouterr().err
  (tmp_path / "ours" / "seed1" / "rte" / "eval").rename(tmp_path / "elsewhere")
  assert retention.main(arguments) == 2
  assert "has no result of val; make it with" in capsys.readouterr().err
