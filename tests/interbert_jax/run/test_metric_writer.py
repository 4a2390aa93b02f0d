"""What a run tells: metrics.jsonl, TensorBoard, plots and progress lines."""

import io
import json
import re
import types

import numpy as np
import pytest
from matplotlib.image import imread
from tensorboard.backend.event_processing.event_accumulator import (
  EventAccumulator,
)
from tensorboard.summary.writer import event_file_writer

from interbert_jax.run import progress
from interbert_jax.run.metric_writer import MetricWriter, read_metrics
from interbert_jax.run.progress import Progress, duration
from interbert_jax.training.plots import plot_losses


def write(workdir, *rows, start_step=0):
  """Writes rows of (step, metrics)."""
  with MetricWriter(workdir, start_step=start_step) as writer:
    for step, metrics in rows:
      writer.write(step, metrics)


def write_steps(workdir, steps, *, start_step=0, sign=1):
  rows = [(step, {"loss": sign * step, "val/loss": 0.5}) for step in steps]
  write(workdir, *rows, start_step=start_step)


def losses(workdir):
  return [(row["step"], row["loss"]) for row in read_metrics(workdir)]


def scalars(workdir, tag):
  events = EventAccumulator(str(workdir))
  events.Reload()
  return [(event.step, event.value) for event in events.Scalars(tag)]


def test_rows_and_events(tmp_path):
  assert read_metrics(tmp_path) == []
  write_steps(tmp_path, [2, 4])
  assert losses(tmp_path) == [(2, 2), (4, 4)]
  assert scalars(tmp_path, "loss") == [(2, 2), (4, 4)]
  assert scalars(tmp_path, "val/loss") == [(2, 0.5), (4, 0.5)]
  row = read_metrics(tmp_path)[0]
  assert list(row) == ["step", "time", "loss", "val/loss"]


def test_rows_of_undone_steps_are_removed(tmp_path, monkeypatch):
  """The run came to step 6 and continues from the checkpoint of step 4."""
  # Files of one second are read in the order of their numbers, as words.
  monkeypatch.setattr(
    event_file_writer, "_global_uid", event_file_writer.AtomicCounter(0)
  )
  write_steps(tmp_path, [2, 4, 6])
  write_steps(tmp_path, [6, 8], start_step=4, sign=-1)
  wanted = [(2, 2), (4, 4), (6, -6), (8, -8)]
  assert losses(tmp_path) == wanted
  assert scalars(tmp_path, "loss") == wanted


def test_a_row_is_in_the_file_at_once(tmp_path):
  with MetricWriter(tmp_path, start_step=0) as writer:
    writer.write(1, {"loss": 3.0})
    assert losses(tmp_path) == [(1, 3)]


@pytest.mark.parametrize("cut", [1, 2, 10, 30])
def test_a_line_cut_off_by_a_kill(tmp_path, cut):
  write_steps(tmp_path, [2, 4, 6])
  path = tmp_path / "metrics.jsonl"
  path.write_bytes(path.read_bytes()[: -1 - cut])
  assert losses(tmp_path) == [(2, 2), (4, 4)]
  write_steps(tmp_path, [6], start_step=4)
  assert losses(tmp_path) == [(2, 2), (4, 4), (6, 6)]
  assert all(json.loads(line) for line in path.read_text().splitlines())


def test_not_a_number_becomes_null(tmp_path):
  row = {"loss": float("nan"), "acc": np.float32("inf"), "n": 1}
  write(tmp_path, (1, row))
  text = (tmp_path / "metrics.jsonl").read_text()
  assert '"loss": null, "acc": null, "n": 1}' in text


def test_a_plot_has_a_panel_for_each_loss(tmp_path):
  rows = (1, {"loss": 2.0, "lr": 0.1}), (2, {"loss": 1.0, "lr": 0.1})
  write(tmp_path, *rows, (2, {"val/loss": 1.5}))
  path = plot_losses(tmp_path)
  assert path == tmp_path / "plots/loss.png"
  one = imread(path)[..., :3]
  colours = {tuple(c) for c in np.round(255 * one).reshape(-1, 3).astype(int)}
  # matplotlib's first two colours: the training and the evaluation curve.
  assert {(31, 119, 180), (255, 127, 14)} <= colours
  row = {"loss": 1.0, "mlm_loss": 0.5, "itm_loss": float("nan")}
  write(tmp_path, (3, row), start_step=2)
  two = imread(plot_losses(tmp_path))
  assert two.shape[0] == one.shape[0]
  assert two.shape[1] == pytest.approx(2 * one.shape[1], abs=2)


def test_the_metric_of_the_best_step_has_a_panel(tmp_path):
  write(tmp_path, (1, {"loss": 2.0}), (2, {"val/loss": 1.5, "val/acc": 0.5}))
  one = imread(plot_losses(tmp_path))
  two = imread(plot_losses(tmp_path, also="val/acc"))
  assert two.shape[1] == pytest.approx(2 * one.shape[1], abs=2)
  for drawn_already in ("val/loss", "val/unknown", "", None):
    assert imread(plot_losses(tmp_path, also=drawn_already)).shape == one.shape


def test_curves_that_are_all_null_are_left_out(tmp_path):
  null = float("nan")
  write(tmp_path, (1, {"loss": null}), (1, {"val/loss": null}))
  assert plot_losses(tmp_path) is None
  write(tmp_path, (2, {"loss": 1.0}), start_step=1)
  assert plot_losses(tmp_path).is_file()


def test_no_plot_without_metrics(tmp_path):
  assert plot_losses(tmp_path) is None
  write(tmp_path, (1, {"lr": 0.1}))
  assert plot_losses(tmp_path) is None
  assert not (tmp_path / "plots").exists()


@pytest.mark.parametrize(
  ("seconds", "text"),
  [
    (0, "0s"),
    (59.9, "59s"),
    (60, "1m00s"),
    (754, "12m34s"),
    (3599, "59m59s"),
    (3600, "1h00m"),
    (90_061, "25h01m"),
  ],
)
def test_duration(seconds, text):
  assert duration(seconds) == text


@pytest.fixture
def clock(monkeypatch):
  now = types.SimpleNamespace(seconds=1000.0)
  fake = types.SimpleNamespace(monotonic=lambda: now.seconds)
  monkeypatch.setattr(progress, "time", fake)
  return now


def make_progress(doing=None, **changes):
  return Progress(
    doing or progress.Activity(),
    **{"start_step": 0, "total_steps": 2000, "batch_size": 64, **changes},
  )


def test_speed_and_eta_by_hand(clock):
  """After the first step: 20 steps in 10 s, then 30 s of evaluation."""
  doing = progress.Activity()
  found = make_progress(doing)
  doing.begin("compile")
  clock.seconds += 500  # compilation counts towards nothing
  doing.begin("data")
  found.first_step(1)
  clock.seconds += 2.5
  doing.begin("step")
  clock.seconds += 7.5
  assert found.measure(21) == {
    "examples_per_sec": 128,
    "data_wait_frac": 0.25,
    "seconds": 510,
  }
  assert found.line(21, {}).endswith("ETA 16m29s")  # 1979 steps of 0.5 s
  doing.begin("evaluate")
  clock.seconds += 30
  doing.begin("save")
  assert found.line(21, {}).endswith("ETA 16m29s")
  clock.seconds += 5
  assert found.measure(31) == {
    "examples_per_sec": 128,
    "data_wait_frac": 0,
    "seconds": 545,
  }


def test_the_time_of_a_later_step_is_not_counted(clock):
  """Metrics are fetched a step late, when a CPU has done the next step too."""
  doing = progress.Activity()
  found = make_progress(doing)
  doing.begin("step")
  found.first_step(1)
  clock.seconds += 5
  before = doing.seconds
  clock.seconds += 0.5
  assert found.measure(11, before)["examples_per_sec"] == 128
  assert found.measure(12)["examples_per_sec"] == 128


def test_a_line_by_hand(clock):
  doing = progress.Activity()
  found = make_progress(doing, total_steps=20_000)
  doing.begin("step")
  found.first_step(200)
  clock.seconds += 100
  values = {
    "loss": 3.2144,
    "mlm_loss": 2.1,
    "mrm_loss": 0.61,
    "itm_loss": 0.5,
    "lr": 9.8e-5,
    "examples_per_sec": 512.3,
    "data_wait_frac": 0.03,
  }
  assert found.line(1200, values) == (
    "step 1,200/20,000 (6.0%) loss 3.214 [mlm 2.100 mrm 0.610 itm 0.500] "
    "lr 9.8e-05 | 512 ex/s data 3% | ETA 31m20s"
  )


def test_a_log_file_gets_whole_lines_without_control_characters(capsys):
  found = make_progress()
  found.show(1, {"loss": 3.0})
  found.message("compiled in 3s")
  found.show(2000, {"loss": 1.0})
  values = {"val/loss": 1.5, "val/mlm_rate": 0.1, "val/Q->AR": 0.25}
  values["val/image_retrieval_recall@1_optimistic"] = 0.5
  found.show_evaluation(2000, values, 2.0)
  text = capsys.readouterr().err
  assert text.splitlines() == [
    "step 1/2,000 (0.1%) loss 3.000",
    "compiled in 3s",
    "step 2,000/2,000 (100.0%) loss 1.000",
    "eval at step 2,000 (2s): val/loss 1.500 val/Q->AR 0.250",
  ]
  assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)


def test_a_terminal_line_is_rewritten(monkeypatch):
  terminal = io.StringIO()
  terminal.isatty = lambda: True
  monkeypatch.setattr("sys.stderr", terminal)
  found = make_progress()
  found.show(1, {})
  found.show(2, {})
  found.message("done")
  erase = "\r\x1b[2K"
  assert terminal.getvalue() == (
    f"{erase}step 1/2,000 (0.1%){erase}step 2/2,000 (0.1%){erase}done\n"
  )


def test_other_processes_are_silent(capsys):
  make_progress(silent=True).show(1, {"loss": 1.0})
  assert capsys.readouterr().err == ""
