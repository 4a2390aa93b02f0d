"""SIGTERM and Ctrl-C end a run after its step, saved; nothing is lost."""

import os
import signal
import threading

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils

from interbert_jax.checkpoints.checkpoints import Checkpoints
from interbert_jax.checkpoints.params import load_params
from interbert_jax.contract import json_file
from interbert_jax.evaluation.evaluators import LossEvaluator
from interbert_jax.run.preemption import Preempted, StopSignals
from tests.support.line_task import LineTask, line_batch, train_line

KEEP = {"save_every": 4, "keep_latest": 3, "best_metric": "val/loss"}


def evaluation(parallel, between):
  """Over two batches; `between` is called when the first is done."""

  def batches():
    yield line_batch(0)
    between()
    yield line_batch(1)

  return LossEvaluator(task=LineTask(), parallel=parallel, batches=batches)


def send(*numbers):
  for number in numbers:
    os.kill(os.getpid(), number)


def train(workdir, at=None, *numbers, in_evaluation=(), **changes):
  """12 steps, evaluated at 6 and 12; signals come before step `at` is read."""
  from interbert_jax.parallel import make_parallel

  parallel = make_parallel(devices=jax.devices()[:1])
  return train_line(
    workdir,
    total_steps=12,
    before_batch=lambda step: send(*numbers) if step == at else None,
    parallel=parallel,
    evaluators={"val": evaluation(parallel, lambda: send(*in_evaluation))},
    checkpoint_config=KEEP,
    eval_every=6,
    log_examples=True,
    **changes,
  )


def steps(workdir):
  with Checkpoints(workdir / "checkpoints", create=False) as checkpoints:
    return checkpoints.steps


def same_end(one, other):
  """The same parameters, and every example once, in order."""
  jax.tree.map(
    np.testing.assert_array_equal,
    *(load_params(workdir / "checkpoints/12")[0] for workdir in (one, other)),
  )
  rows = [json_file.read_lines(w / "examples.jsonl") for w in (one, other)]
  assert rows[0] == rows[1]
  assert [row["step"] for row in rows[0]] == list(range(1, 13))


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("straight")
  return workdir, train(workdir)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_same_command_goes_on(
  number, straight, tmp_path, capsys
):
  with pytest.raises(Preempted) as stop:
    train(tmp_path, 7, number, preempt_exit_code=9)
  # Batches are read two ahead: the signal came while step 6 was made.
  assert (stop.value.step, stop.value.exit_code) == (7, 9)
  assert steps(tmp_path) == [4, 7]
  text = capsys.readouterr().err
  assert "preempted at step 7, saved 0." in text
  assert f"s after {number.name}; the same command goes on" in text
  if number == signal.SIGINT:
    assert "press Ctrl-C again to quit without saving" in text
  assert train(tmp_path) == straight[1]
  assert "from the checkpoint of step 7" in capsys.readouterr().err
  same_end(tmp_path, straight[0])


def test_ctrl_c_twice_does_not_save(straight, tmp_path):
  with pytest.raises(KeyboardInterrupt):
    train(tmp_path, 7, signal.SIGINT, signal.SIGINT)
  assert steps(tmp_path) == [4]
  train(tmp_path)
  same_end(tmp_path, straight[0])


def test_ctrl_c_behind_sigterm_saves_as_well(tmp_path):
  """As launchers send both."""
  with pytest.raises(Preempted):
    train(tmp_path, 7, signal.SIGTERM, signal.SIGINT)
  assert steps(tmp_path) == [4, 7]


def test_a_signal_before_the_first_step_saves_no_empty_step(straight, tmp_path):
  with pytest.raises(Preempted):
    train(tmp_path, 0, signal.SIGTERM)
  assert steps(tmp_path) == [1]
  train(tmp_path)
  same_end(tmp_path, straight[0])


def test_a_signal_at_a_step_that_is_saved_anyway_saves_once(
  straight, tmp_path, monkeypatch
):
  saved = []
  save = Checkpoints.save

  def noted(self, state, *, step, **options):
    saved.append(step)
    # While this save is being written.
    save(self, state, step=step, **options)
    if step == 4:
      send(signal.SIGTERM)

  monkeypatch.setattr(Checkpoints, "save", noted)
  with pytest.raises(Preempted):
    train(tmp_path)
  assert saved == [4, 5] == steps(tmp_path)


@pytest.mark.parametrize("at", [6, 12])
def test_an_evaluation_is_left_and_made_up_for(at, straight, tmp_path):
  """Its step is saved at once; the next start begins with the evaluation."""
  if at == 12:
    with pytest.raises(Preempted):
      train(tmp_path, 7, signal.SIGTERM)
  with pytest.raises(Preempted) as stop:
    train(tmp_path, in_evaluation=[signal.SIGTERM])
  assert stop.value.step == at
  assert steps(tmp_path)[-1] == at
  # Stopped again before it is through: it is due as before.
  with pytest.raises(Preempted):
    train(tmp_path, in_evaluation=[signal.SIGTERM])
  assert train(tmp_path) == straight[1]
  same_end(tmp_path, straight[0])
  rows = json_file.read_lines(tmp_path / "metrics.jsonl")
  assert [row["step"] for row in rows if "val/loss" in row] == [6, 12]


def test_ten_preemptions(straight, tmp_path):
  for step in range(10):
    with pytest.raises(Preempted):
      train(tmp_path, step, signal.SIGTERM)
  train(tmp_path)
  same_end(tmp_path, straight[0])
  starts = json_file.read_lines(tmp_path / "starts.jsonl")
  assert len(starts) == 11
  meta = load_params(tmp_path / "checkpoints/12")[1]
  # Time goes on from start to start.
  assert meta["seconds"]["start"] > 0 and meta["seconds"]["compile"] > 0


def test_handlers_are_put_back():
  before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
  with StopSignals() as signals:
    assert not signals.stop_requested()
    send(signal.SIGTERM)
    assert signals.stop_requested() and signals.name == "SIGTERM"
  assert before == [
    signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)
  ]


def test_in_another_thread_nothing_is_handled():
  found = []

  def enter():
    with StopSignals() as signals:
      found.append(signals.stop_requested())

  thread = threading.Thread(target=enter)
  thread.start()
  thread.join()
  assert found == [False]


def test_orbax_does_not_ask_for_the_signal(tmp_path, monkeypatch):
  """JAX counts who asks: hosts would disagree about the step to stop at."""

  def ask(step):
    raise AssertionError("asked by Orbax")

  monkeypatch.setattr(multihost_utils, "reached_preemption_sync_point", ask)
  train(tmp_path)
  assert steps(tmp_path)[-1] == 12
