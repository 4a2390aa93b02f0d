"""The loop: it learns, it resumes bit for bit, and it writes what it says."""

import json

import jax
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict
from tensorboard.backend.event_processing.event_accumulator import (
  EventAccumulator,
)

from interbert_jax.checkpoints.checkpoints import Checkpoints
from interbert_jax.contract.batch_sizes import Part
from interbert_jax.evaluation.evaluators import EvalBatches, LossEvaluator
from interbert_jax.parallel import make_parallel
from interbert_jax.run.metric_writer import read_metrics
from interbert_jax.training import steps
from interbert_jax.training.resume import find_start
from interbert_jax.training.settings import RunSettings, TrainSettings
from interbert_jax.training.train import train_and_evaluate
from interbert_jax.weights.settings import InitSettings
from interbert_jax.weights.weights_file import write_safetensors
from tests.support.bert_weights import make_bert
from tests.support.line_task import BatchData, run_settings, saved
from tests.support.tiny_task import (
  BATCH,
  DIMS,
  VOCAB,
  tiny_batch,
  tiny_batches,
  tiny_task,
)

OPTIM = {
  "lr": 1e-3,
  "warmup_steps": 2,
  "weight_decay": 0.01,
  "clip_norm": 1.0,
  "b1": 0.9,
  "b2": 0.999,
  "eps": 1e-6,
}
CHECKPOINT = {
  "save_every": 4,
  "keep_latest": 2,
  "best_metric": "val/loss",
  "best_mode": "min",
}


class Killed(Exception):
  pass


def train(
  workdir,
  *,
  total_steps=8,
  task=None,
  parallel=None,
  batches=None,
  cut=lambda _: None,
  **changes,
):
  """A run of the loop on NumPy batches."""
  task, parallel = task or tiny_task(), parallel or make_parallel()
  evaluator = LossEvaluator(
    task=task,
    parallel=parallel,
    batches=EvalBatches(lambda: [tiny_batch(1000), tiny_batch(1001)]),
  )
  info = changes.pop("info", {})
  data = BatchData(batches or tiny_batches, DIMS, info, cut=cut)
  settings = run_settings(
    steps=total_steps,
    batch_size=BATCH,
    **{
      "log_every": 2,
      "optim_config": OPTIM,
      "eval_every": 4,
      "checkpoint_config": CHECKPOINT,
      **changes,
    },
  )
  return train_and_evaluate(
    task, data, {"val": evaluator}, settings, parallel, workdir
  )


def noted(seen, kill_at=None):
  """Batches whose ids are written down, perhaps up to a kill before a step."""

  def batches(first, last):
    steps = range(first, last)
    for step, batch in zip(
      steps, tiny_batches(first, last, seen=seen), strict=True
    ):
      if step == kill_at:
        raise Killed
      yield batch

  return batches


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("straight")
  seen = {}
  final = train(workdir, batches=noted(seen))
  return workdir, seen, final


def test_resumed_run_equals_straight_run(straight, tmp_path, capsys):
  """8 steps = 4 + kill + the rest: parameters, ids and metrics."""
  workdir, seen, final = straight
  resumed_seen = {}
  # The loop reads ahead, so it dies while step 6 waits for its batch.
  with pytest.raises(Killed):
    train(tmp_path, batches=noted(resumed_seen, kill_at=6))
  resumed_seen = {k: v for k, v in resumed_seen.items() if k < 4}
  assert train(tmp_path, batches=noted(resumed_seen)) == final
  assert "from the checkpoint of step 4" in capsys.readouterr().err
  jax.tree.map(
    np.testing.assert_array_equal, saved(tmp_path, 8), saved(workdir, 8)
  )
  assert resumed_seen == seen
  timing = {"time", "seconds", "examples_per_sec", "data_wait_frac"}
  rows = [
    [
      {k: v for k, v in row.items() if k not in timing}
      for row in read_metrics(d)
    ]
    for d in (tmp_path, workdir)
  ]
  assert rows[0] == rows[1]


def test_steps_that_are_cut_and_not_cut_take_turns(tmp_path, capsys):
  """As where a batch has more long texts than there are places for."""

  def batches(first, last):
    for batch in tiny_batches(first, last):
      short = np.arange(BATCH) % 2 == 0  # two examples for each of 8 devices
      length = np.where(short, 4, batch["text_length"]).astype(np.int32)
      ids = batch["text_ids"] * (np.arange(10) < length[:, None])
      regions = np.where(short, 3, batch["num_regions"]).astype(np.int32)
      cut = {"text_length": length, "num_regions": regions}
      yield {**batch, **cut, "text_ids": np.int32(ids)}

  options = {"task": tiny_task(dropout=False), "batches": batches}
  parts = Part(1, 5, 3), Part(1, 10)
  train(tmp_path / "a", cut=lambda step: parts if step % 3 else None, **options)
  said = capsys.readouterr().err
  assert said.count("compiled in") == 2
  assert said.count("by tokens: 1 of 5 and 3 regions, 1 of 10") == 1
  train(tmp_path / "b", **options)
  assert capsys.readouterr().err.count("compiled in") == 1
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5),
    saved(tmp_path / "a", 8),
    saved(tmp_path / "b", 8),
  )


def test_what_is_written(straight):
  workdir, _, final = straight
  rows = read_metrics(workdir)
  losses = [row for row in rows if "loss" in row]
  assert [row["step"] for row in losses] == [2, 4, 6, 8]
  assert {"mlm_loss", "mrm_loss", "itm_loss", "lr", "grad_norm"} <= set(
    losses[0]
  )
  evals = [row for row in rows if "val/loss" in row]
  assert [row["step"] for row in evals] == [4, 8]
  assert evals[-1]["val/mlm_loss"] == final["val/mlm_loss"]
  assert losses[-1]["lr"] == pytest.approx(1e-3 / 6)  # the last of 6 descents
  environment = json.loads((workdir / "env.json").read_text())
  assert environment["versions"]["jax"] == jax.__version__
  assert (workdir / "plots/loss.png").read_bytes().startswith(b"\x89PNG")
  events = EventAccumulator(str(workdir))
  events.Reload()
  assert {"loss", "lr", "val/loss"} <= set(events.Tags()["scalars"])
  assert [e.step for e in events.Scalars("loss")] == [2, 4, 6, 8]


def test_eight_examples_are_learnt(tmp_path):
  """A model that does not learn is a bug: overfits one batch."""
  batch = tiny_batch(0)
  train(
    tmp_path,
    total_steps=150,
    task=tiny_task(dropout=False, mrm_weight=0.0),
    # The same masks too: the position never changes.
    batches=lambda first, last: iter([batch] * (last - first)),
    log_every=10,
    eval_every=0,
    optim_config={**OPTIM, "lr": 1e-2, "warmup_steps": 10},
    checkpoint_config={**CHECKPOINT, "save_every": 1000, "best_metric": ""},
  )
  rows = read_metrics(tmp_path)
  losses = [row["loss"] for row in rows if "loss" in row]
  assert losses[0] > 4
  assert losses[-1] < 0.2


def test_changed_data_is_refused(straight):
  workdir, _, _ = straight
  with pytest.raises(ValueError, match="fingerprint: 'a' before, 'b' now"):
    train(workdir, info={"fingerprint": "b"})


def test_changed_model_is_refused(straight):
  workdir, _, _ = straight
  with pytest.raises(ValueError, match=r"region_head/decoder/kernel is"):
    train(
      workdir, task=tiny_task(region_target="features", mrm_loss="features")
    )


def test_too_few_steps_are_refused(straight):
  workdir, _, _ = straight
  with pytest.raises(ValueError, match="at step 8, beyond the 4 steps"):
    train(workdir, total_steps=4, optim_config={**OPTIM, "warmup_steps": 0})


def test_init_from_a_bert_leaves_the_rest_random(tmp_path):
  bert = make_bert(5, hidden=32, mlp=64, words=VOCAB, rows=64)
  write_safetensors(tmp_path / "model.safetensors", bert)
  task, parallel = tiny_task(), make_parallel()

  def init_fn():
    params = task.init(jax.random.key(0), tiny_batch(batch_size=1))
    return steps.init_state(params, optax.identity())

  with Checkpoints(tmp_path / "checkpoints") as checkpoints:
    start = find_start(
      checkpoints,
      init_fn,
      RunSettings(
        train=TrainSettings(steps=1),
        init_from=str(tmp_path),
        init=InitSettings(layers=(4, 0, 2)),
      ),
      parallel=parallel,
      model=task.config,
      meta={"vocab_sha256": None},
    )
  report = start.report
  assert (start.step, report.format) == (0, "bert")
  fresh = flatten_dict(parallel.init(init_fn).params, sep="/")
  found = flatten_dict(start.state.params, sep="/")
  assert found.keys() == report.loaded.keys() | report.random.keys()
  for name, value in found.items():
    wanted = fresh[name]
    if name in report.loaded:
      wanted = bert[report.loaded[name]]
      wanted = wanted.T if name.endswith("kernel") else wanted
    np.testing.assert_array_equal(value, wanted, name)


def test_a_batch_outside_the_contract_is_refused(tmp_path):
  def wrong(first, last):
    yield {**tiny_batch(), "text_ids": np.zeros((BATCH, 12), np.int32)}

  with pytest.raises(ValueError, match=r"text_ids: expected \(B=16, L=10\)"):
    train(tmp_path, batches=wrong)
