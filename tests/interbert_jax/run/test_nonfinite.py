"""Steps that are not finite: not applied, written down, and at last refused."""

import json

import jax
import numpy as np
import pytest

from interbert_jax.checkpoints.checkpoints import Checkpoints
from interbert_jax.contract import json_file
from interbert_jax.parallel import make_parallel
from interbert_jax.run import nonfinite
from interbert_jax.run.metric_writer import read_metrics
from tests.support.line_task import BATCH, line_batch, saved, train_line


def same(one, other):
  jax.tree.map(np.testing.assert_array_equal, one, other)


def listed(workdir, name="nonfinite.jsonl"):
  rows = json_file.read_rows(workdir / name)
  return [(row["step"], row["example_ids"]) for row in rows]


@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_a_bad_step_is_not_applied_and_training_goes_on(tmp_path, mode, capsys):
  parallel = make_parallel(mode=mode, devices=jax.devices()[:2])
  train_line(
    tmp_path,
    total_steps=8,
    bad_steps=(3, 4),
    parallel=parallel,
    ema_decay=0.5,
    checkpoint_config={"save_every": 2, "keep_latest": 9, "best_metric": ""},
  )
  for item in ("params", "ema"):
    same(saved(tmp_path, 4, item), saved(tmp_path, 2, item))
    kernels = [saved(tmp_path, k, item)["line"]["kernel"] for k in (4, 6, 8)]
    assert np.isfinite(kernels).all()
    assert not np.array_equal(kernels[0], kernels[1])
  ids = [line_batch(k)["example_id"].tolist() for k in (2, 3)]
  assert listed(tmp_path) == [(3, ids[0]), (4, ids[1])]
  text = capsys.readouterr().err
  assert f"step 3 is skipped, its loss or gradient is not finite; {BATCH}" in (
    text
  )
  rows = [row for row in read_metrics(tmp_path) if "lr" in row]
  assert [row["skipped"] for row in rows] == [0, 2, 2, 2]
  # Means are over the steps that were made; there are none in row 1.
  assert [("loss" in row) for row in rows] == [True, False, True, True]
  # The rate is that of the step, as if nothing had happened.
  assert [row["lr"] for row in rows] == pytest.approx(
    [0.1 * (8 - k) / 8 for k in (1, 3, 5, 7)]
  )


def test_too_many_in_a_row_stop_the_run(tmp_path):
  with pytest.raises(ValueError, match="max_skipped is 3") as error:
    train_line(tmp_path, total_steps=12, bad_steps=(3, 5, 6, 7), max_skipped=3)
  for part in ("at steps 5 to 7, 3 in a row", f"{tmp_path}/checkpoints/6"):
    assert part in str(error.value)
  with Checkpoints(tmp_path / "checkpoints", create=False) as checkpoints:
    assert checkpoints.steps == [4, 6]
  same(saved(tmp_path, 6), saved(tmp_path, 4))
  assert [step for step, _ in listed(tmp_path)] == [3, 5, 6, 7]


def test_a_restart_goes_on_counting(tmp_path):
  """Steps 4 and 5 are bad and a checkpoint lies between them."""
  straight = tmp_path / "straight"
  with pytest.raises(ValueError, match="at steps 4 to 5, 2 in a row"):
    train_line(straight, total_steps=8, bad_steps=(4, 5), max_skipped=2)
  resumed = tmp_path / "resumed"
  with pytest.raises(KeyboardInterrupt):
    train_line(resumed, total_steps=8, bad_steps=(4, 5), stop_after=5)
  with pytest.raises(ValueError, match="at steps 4 to 5, 2 in a row"):
    train_line(resumed, total_steps=8, bad_steps=(4, 5), max_skipped=2)
  assert listed(resumed) == listed(straight)
  assert read_metrics(resumed)[-1]["skipped"] == 1  # of step 4


def test_lines_of_undone_steps_are_written_once(tmp_path):
  """A kill undoes steps, and may cut the last line off."""
  rows = [{"step": step, "example_ids": [step]} for step in (2, 5, 7)]
  text = "".join(json.dumps(row) + "\n" for row in rows)
  (tmp_path / "nonfinite-1.jsonl").write_text(text[:-4])
  watch = nonfinite.SkippedSteps(
    tmp_path, start_step=4, max_in_a_row=9, process=1
  )
  pairs = {"skipped": (2, 1), "skipped_in_a_row": (1, 1), "loss": (0, 0)}
  assert watch.seen(5, pairs, ids=[8, 9], last_good="none") == {"loss": (0, 0)}
  assert watch.total == 2
  assert listed(tmp_path, "nonfinite-1.jsonl") == [(2, [2]), (5, [8, 9])]


def test_what_is_not_finite_is_not_saved(tmp_path):
  """An update can overflow though loss and gradient are finite."""
  options = {"lr": 3e38, "warmup_steps": 0, "weight_decay": 1.0}
  with pytest.raises(ValueError, match="step 1 is not saved, .*kernel") as e:
    train_line(
      tmp_path,
      total_steps=1,
      optim_config={**options, "rate_groups": (("line/kernel", 1e3),)},
    )
  assert "last good checkpoint is none" in str(e.value)


class Broken:
  def run(self, params, on_batch):
    return {"loss": float("nan"), "b_acc": 0.5}


def test_an_evaluation_without_a_number_is_refused(tmp_path):
  with pytest.raises(ValueError, match="step 2 gave no finite val/loss, so"):
    train_line(tmp_path, total_steps=2, evaluators={"val": Broken()})
  with Checkpoints(tmp_path / "checkpoints", create=False) as checkpoints:
    # The step itself is sound; the next start evaluates it again.
    assert checkpoints.steps == [2] and not checkpoints.metrics.of(2)


def test_names_of_what_is_not_finite():
  tree = {"a": np.ones(2), "b": {"c": np.array([1, np.inf])}, "d": None}
  assert nonfinite.not_finite(tree) == ["b/c"]
  assert nonfinite.not_finite({"a": np.arange(3)}) == []
