"""SIGTERM and Ctrl-C end a run after its step, saved; nothing is lost."""

import contextlib
import os
import signal
import threading
from unittest import mock

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils

from interbert_jax.checkpoints.checkpoints import Checkpoints
from interbert_jax.checkpoints.params import load_params
from interbert_jax.checkpoints.settings import CheckpointSettings
from interbert_jax.contract import json_file
from interbert_jax.evaluation.evaluators import EvalBatches, LossEvaluator
from interbert_jax.parallel import make_parallel
from interbert_jax.ranking import matrix_scorer
from interbert_jax.ranking.matrix_scorer import MatrixScorer
from interbert_jax.run.preemption import Preempted, StopSignals
from tests.support.line_task import LineTask, line_batch, train_line

KEEP = {"save_every": 4, "keep_latest": 3, "best_metric": "val/loss"}


def evaluation(parallel, between):
  """Over two batches; `between` is called when the first is done."""

  def batches():
    yield line_batch(0)
    between()
    yield line_batch(1)

  return LossEvaluator(
    task=LineTask(), parallel=parallel, batches=EvalBatches(batches)
  )


def send(*numbers):
  for number in numbers:
    os.kill(os.getpid(), number)


def train(workdir, at=None, *numbers, in_evaluation=(), **changes):
  """12 steps, evaluated at 6 and 12; signals come before step `at` is read."""
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
  rows = [json_file.read_rows(w / "examples.jsonl") for w in (one, other)]
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
  rows = json_file.read_rows(tmp_path / "metrics.jsonl")
  assert [row["step"] for row in rows if "val/loss" in row] == [6, 12]


def test_ten_preemptions(straight, tmp_path):
  for step in range(10):
    with pytest.raises(Preempted):
      train(tmp_path, step, signal.SIGTERM)
  train(tmp_path)
  same_end(tmp_path, straight[0])
  starts = json_file.read_rows(tmp_path / "starts.jsonl")
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


class Values:
  """An evaluation of two batches, with these losses one after the other."""

  def __init__(self, *values, between=lambda: None):
    self._values, self._between = list(values), between

  def run(self, params, on_batch):
    on_batch()
    self._between()
    on_batch()
    return {"loss": self._values.pop(0)}


def rows_of(workdir):
  """Without what is measured in seconds."""
  return [
    {k: v for k, v in row.items() if k in ("step", "loss", "val/loss")}
    for row in json_file.read_rows(workdir / "metrics.jsonl")
  ]


def evaluated(workdir, values, *, save_every=6):
  """12 steps, evaluated at 6 and 12; the first is the best."""
  return train_line(
    workdir,
    total_steps=12,
    parallel=make_parallel(devices=jax.devices()[:1]),
    evaluators={"val": values},
    checkpoint_config={
      **{"save_every": save_every, "keep_latest": 1},
      "best_metric": "val/loss",
    },
    eval_every=6,
  )


def best(workdir):
  settings = CheckpointSettings(best_metric="val/loss", best_mode="min")
  with Checkpoints(workdir / "checkpoints", settings, create=False) as found:
    return found.choose("best"), found.steps


@pytest.mark.parametrize("save_every", [6, 4])
def test_a_disturbed_run_ends_as_an_undisturbed_one(save_every, tmp_path):
  """The same best step, and the same rows: stopped in each evaluation, and
  killed in it, and between its row and its record.
  """
  undisturbed, disturbed = tmp_path / "a", tmp_path / "b"
  evaluated(undisturbed, Values(0.1, 0.9), save_every=save_every)
  stop = Values(between=lambda: send(signal.SIGTERM))

  def kill():
    raise RuntimeError("killed")

  for values in ((0.1, 0.9), (0.9,)):
    with pytest.raises(Preempted):
      evaluated(disturbed, stop, save_every=save_every)
    with pytest.raises(RuntimeError, match="killed"):
      evaluated(disturbed, Values(between=kill), save_every=save_every)
    if save_every == 6:
      with (
        mock.patch.object(Checkpoints, "record", side_effect=RuntimeError),
        pytest.raises(RuntimeError),
      ):
        evaluated(disturbed, Values(*values), save_every=save_every)
    with contextlib.suppress(Preempted):
      following = [None, lambda: send(signal.SIGTERM)]
      last = Values(*values, between=lambda f=following: (f.pop(0) or bool)())
      evaluated(disturbed, last, save_every=save_every)
  assert rows_of(disturbed) == rows_of(undisturbed)
  assert best(disturbed) == best(undisturbed)
  assert best(undisturbed)[0] == (6 if save_every == 6 else 12)


def test_a_kill_in_an_evaluation_loses_no_training(tmp_path):
  """The step was due, and is saved before it is evaluated."""

  def kill():
    raise RuntimeError("killed")

  with pytest.raises(RuntimeError, match="killed"):
    evaluated(tmp_path, Values(between=kill))
  assert steps(tmp_path) == [6]


def test_few_steps_of_a_long_evaluation_are_queued(monkeypatch):
  """A stop waits for what the device was given: at most two steps of pairs."""
  queued, most = [], []

  def start(self, *_):
    queued.append(1)
    most.append(len(queued))
    return np.zeros((2, 2))

  monkeypatch.setattr(
    matrix_scorer.jax,
    "block_until_ready",
    lambda parts: queued.clear() if parts else None,
  )
  monkeypatch.setattr(
    MatrixScorer,
    "_start",
    start,
  )
  texts = {"text_ids": np.ones((64, 4), int), "text_length": np.full(64, 4)}
  images = {
    "region_features": np.zeros((2, 3, 4), np.float32),
    "region_boxes": np.zeros((2, 3, 4), np.float32),
    "image_size": np.ones((2, 2)),
    "num_regions": np.full(2, 3),
  }
  scorer = MatrixScorer(
    model=None,
    parallel=make_parallel(devices=jax.devices()[:1]),
    texts=texts,
    pairs_per_step=4,
  )
  scorer._embed = lambda *_: None
  scorer.scores({}, images)
  assert len(most) == 32 and max(most) <= 2
