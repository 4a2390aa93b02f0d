"""Micro-batches, and the moving average by hand."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from interbert_jax.contract.batch_sizes import Part
from interbert_jax.parallel import make_parallel
from interbert_jax.tasks import rows
from interbert_jax.training import steps
from tests.support.line_task import (
  LineTask,
  line_batch,
  one_update,
  saved,
  train_line,
)
from tests.support.tiny_task import drawn_params, tiny_batch, tiny_task

EVERY = {"save_every": 1, "keep_latest": 9, "best_metric": ""}


def test_micro_batches_keep_groups_whole():
  batch = {"position": np.arange(12), "x": np.arange(24).reshape(12, 2)}
  found = steps.micro_batches(batch, 3, group_size=2)
  np.testing.assert_array_equal(
    found["position"], [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]
  )
  assert found["x"].shape == (3, 4, 2)
  np.testing.assert_array_equal(found["x"][..., 0], 2 * found["position"])


def test_a_row_without_a_place_is_the_same_in_parts():
  """Groups are those of the large batch, and so are their places."""
  weights_BN = np.float32(np.random.default_rng(0).random((16, 5)) < 0.4)
  select = functools.partial(
    rows.select_rows, group_size=2, rows_per_example=1.5
  )
  parts = steps.micro_batches({"weights": weights_BN}, 4, group_size=2)
  whole = select(weights_BN)
  assert whole.dropped > 0
  for i, part in enumerate(parts["weights"]):
    np.testing.assert_array_equal(select(part).index_GK, whole.index_GK[i::4])


def test_batches_that_cannot_be_cut():
  with pytest.raises(ValueError, match="16 examples .*steps=3 .*size=2; .* 6,"):
    steps.micro_batches(tiny_batch(), 3, group_size=2)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    (
      {"accumulate_steps": 3},
      "accumulate_steps is 3; wanted a divisor of .* 8",
    ),
    ({"ema_decay": 1.0}, "ema_decay is 1.0; wanted more than 0, less than 1"),
  ],
)
def test_mistakes(options, message, tmp_path):
  with pytest.raises(ValueError, match=message):
    train_line(tmp_path, total_steps=1, **options)


def test_parts_that_devices_cannot_share(tmp_path):
  message = "train.batch_size / train.accumulate_steps is 2, which 8 devices"
  with pytest.raises(ValueError, match=message):
    train_line(
      tmp_path, total_steps=1, accumulate_steps=4, parallel=make_parallel()
    )


def update(mode, devices, parts):
  return one_update(
    LineTask(),
    optax.sgd(1.0),
    line_batch(0),
    mode=mode,
    devices=jax.devices()[:devices],
    accumulate_steps=parts,
  )


@pytest.mark.parametrize(("mode", "devices"), [("jit", 1), ("pmap", 2)])
def test_parts_add_up_to_the_gradient_of_the_whole(mode, devices):
  """Parts count unequal numbers of examples, of b_loss some none at all."""
  wanted, metrics, _ = update("jit", 1, 1)
  found, of_parts, _ = update(mode, devices, 4)
  assert np.abs(wanted["line"]["kernel"]).max() > 0.1
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6),
    found,
    wanted,
  )
  assert set(of_parts) == set(metrics)
  for name, pair in metrics.items():
    np.testing.assert_allclose(of_parts[name], pair, rtol=1e-5, err_msg=name)


def test_micro_batches_keep_groups_of_cut_texts_whole():
  parts = Part(2, 5), Part(2, 10)
  task, batch = tiny_task(dropout=False, mlm_rows=9, mrm_rows=6), tiny_batch()
  length = np.int32([3, 5, 8, 10] * 4)
  ids = batch["text_ids"] | 1
  ids[np.arange(10) >= length[:, None]] = 0
  batch |= {"text_ids": ids, "text_length": length}
  params = drawn_params(task, batch, seed=0)

  def measured(**options):
    key, step = jax.random.key(0), jnp.int32(0)
    return steps.gradients(params, batch, key, step, task=task, **options)

  grads, metrics = jax.jit(measured)()
  cut_grads, cut = jax.jit(
    functools.partial(measured, accumulate_steps=2, parts=parts)
  )()
  for name in ("mlm_loss", "mrm_loss", "itm_loss"):
    np.testing.assert_allclose(cut[name], metrics[name], rtol=1e-5)
  norm = optax.tree.norm(optax.tree.sub(cut_grads, grads))
  assert norm < 1e-5 * optax.tree.norm(grads)


def test_another_generator_changes_dropout_and_no_mask():
  task, batch = tiny_task(), tiny_batch()
  params = drawn_params(task, batch, seed=0)

  @functools.partial(jax.jit, static_argnames=("dropout_rng", "step"))
  def measured(dropout_rng, step):
    grads, metrics = steps.gradients(
      params,
      batch,
      jax.random.key(0),
      jnp.int32(step),
      task=task,
      dropout_rng=dropout_rng,
    )
    return optax.tree.norm(grads), metrics

  (norm, metrics), (other_norm, others) = (
    measured(name, 0) for name in ("threefry2x32", "hash")
  )
  for name in ("mlm_rate", "mrm_rate"):
    np.testing.assert_array_equal(metrics[name], others[name])
  np.testing.assert_array_equal(metrics["mlm_loss"][1], others["mlm_loss"][1])
  assert abs(norm - other_norm) > 1e-4 * norm
  assert measured("hash", 1)[0] != other_norm


class Recorder:
  def __init__(self):
    self.seen = []

  def run(self, params, on_batch):
    self.seen.append(jax.device_get(params))
    return {}


def test_average_by_hand(tmp_path):
  """ema += (1 - 0.9)(w - ema) after each update, from a copy of the start."""
  recorder = Recorder()
  task, key = LineTask(), jax.random.key(0)
  start = task.init(jax.random.split(key)[0], line_batch(0))
  wanted = np.float64(start["line"]["kernel"])
  for stop in (2, None):  # killed after two steps, and continued
    try:
      train_line(
        tmp_path,
        total_steps=4,
        stop_after=stop,
        ema_decay=0.9,
        checkpoint_config=EVERY,
        evaluators={"val": recorder},
      )
    except KeyboardInterrupt:
      assert stop == 2
  for step in (1, 2, 3, 4):
    params = saved(tmp_path, step, "params")["line"]["kernel"]
    wanted = wanted + (1 - 0.9) * (params - wanted)
    found = saved(tmp_path, step, "ema")
    np.testing.assert_allclose(found["line"]["kernel"], wanted, rtol=1e-6)
    assert np.abs(params - wanted).max() > 0.01
  # Training evaluates the average.
  (seen,) = recorder.seen
  jax.tree.map(np.testing.assert_array_equal, seen, found)


@pytest.fixture(scope="module")
def without_average(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("plain")
  train_line(workdir, total_steps=2)
  return workdir


def test_an_average_cannot_begin_in_the_middle(without_average, tmp_path):
  with pytest.raises(ValueError, match="item ema .* missing, .* is set"):
    train_line(without_average, total_steps=4, ema_decay=0.9)
  train_line(tmp_path, total_steps=2, ema_decay=0.9)
  with pytest.raises(ValueError, match="item ema .* there, .* is not set"):
    train_line(tmp_path, total_steps=4)


def test_another_optimiser_is_refused(without_average):
  """It is not taken for a damaged checkpoint."""
  with pytest.raises(ValueError, match="another configuration .optim.algor"):
    train_line(
      without_average,
      total_steps=4,
      optim_config={"lr": 0.1, "algorithm": "bert_adam"},
    )


def test_no_average_to_evaluate(without_average):
  with pytest.raises(ValueError, match="has no item 'ema'; .*--noema"):
    saved(without_average, 2, "ema")


@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_an_average_starts_from_the_given_parameters(
  mode, without_average, tmp_path
):
  """Two steps: the state's buffers must be its own."""
  given = saved(without_average, 2, "params")
  train_line(
    tmp_path,
    total_steps=2,
    parallel=make_parallel(mode=mode, devices=jax.devices()[:2]),
    init_from=str(without_average / "checkpoints/2"),
    ema_decay=0.5,
    optim_config={"lr": 1e-30},
  )
  for item in ("params", "ema"):
    found = saved(tmp_path, 2, item)
    jax.tree.map(np.testing.assert_array_equal, found, given)
  report = json.loads((tmp_path / "init_report.json").read_text())
  assert report["format"] == "checkpoint"
  assert report["counts"] == {"loaded": 3, "random": 0, "unused": 0}


def test_the_average_is_spread_with_the_optimiser():
  parallel = make_parallel(sharding="zero1")
  wide = {"kernel": jax.ShapeDtypeStruct((64, 64), "float32")}
  count = jax.ShapeDtypeStruct((), "int32")
  layout = parallel.layout(
    steps.TrainState(count, wide, wide, wide, count, count)
  )
  assert layout.params["kernel"].is_fully_replicated
  assert not layout.ema["kernel"].is_fully_replicated
  assert layout.ema == layout.opt_state
