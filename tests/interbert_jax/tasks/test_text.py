"""The text task and its evaluator: losses by hand, ids, starting weights."""

import functools

import jax
import numpy as np
import pytest
from flax import traverse_util

from interbert_jax.contract.batch import dummy_batch, text_spec
from interbert_jax.evaluation.evaluators import EvalBatches
from interbert_jax.evaluation.predictions import Predictor
from interbert_jax.evaluation.text import TextEvaluator
from interbert_jax.model.inputs import TextInput
from interbert_jax.parallel import make_parallel
from interbert_jax.tasks.text import TextTask
from interbert_jax.weights.init_from import read_init
from interbert_jax.weights.weights_file import write_safetensors
from tests.support.tiny_task import (
  DIMS,
  VOCAB,
  drawn_params,
  tiny_batch,
  tiny_config,
  tiny_task,
)

CONFIG = tiny_config(dropout=False)
EXAMPLES, BATCH = 13, 8
LABELS = 3


def make_batch(count, *, regression=False, seed=0):
  spec = text_spec(label_dtype="float32" if regression else "int32")
  batch = dummy_batch(
    spec, dims={"B": count, "L": DIMS["L"]}, vocab_size=VOCAB, seed=seed
  )
  rng = np.random.default_rng(seed)
  labels = rng.normal(size=count) if regression else rng.integers(0, 3, count)
  types = rng.integers(0, 2, batch["text_types"].shape)
  return {
    **batch,
    "label": labels.astype(batch["label"].dtype),
    "text_types": types.astype(np.int32),
  }


@functools.lru_cache
def params_of(num_labels):
  task = TextTask(CONFIG, num_labels=num_labels)
  batch = make_batch(1, regression=num_labels == 0)
  return drawn_params(task, batch, seed=0)


@functools.lru_cache
def forward(num_labels):
  task = TextTask(CONFIG, num_labels=num_labels)

  @jax.jit
  def run(params, batch):
    inputs = task.prepare(batch, jax.random.key(0), train=True)
    return (
      task.outputs(params, inputs),
      task.losses(params, inputs),
      task.weights(inputs),
    )

  return run


def test_cross_entropy_by_hand():
  batch = make_batch(4)
  batch["example_weight"] = np.array([1, 1, 0, 1], np.float32)
  logits, (sums, metrics), weights = jax.device_get(
    forward(LABELS)(params_of(LABELS), batch)
  )
  assert np.ptp(logits, axis=0).min() > 0.01
  own = logits[np.arange(4), batch["label"]]
  losses = np.log(np.exp(logits).sum(1)) - own
  np.testing.assert_allclose(
    sums["answer_loss"], losses[[0, 1, 3]].sum(), rtol=1e-5
  )
  assert weights == {"answer_loss": 3}
  hits = (logits.argmax(1) == batch["label"])[[0, 1, 3]]
  assert metrics["answer_acc"] == (hits.sum(), 3)


def test_squared_error_by_hand():
  batch = make_batch(4, regression=True)
  batch["example_weight"] = np.array([1, 0, 1, 1], np.float32)
  outputs, (sums, metrics), weights = jax.device_get(
    forward(0)(params_of(0), batch)
  )
  assert outputs.shape == (4, 1)
  errors = (outputs[:, 0] - batch["label"]) ** 2
  np.testing.assert_allclose(
    sums["answer_loss"], errors[[0, 2, 3]].sum(), rtol=1e-5
  )
  assert weights == {"answer_loss": 3}
  assert metrics.keys() == {"answer_loss"}


def test_padding_is_not_read_and_types_are():
  batch = make_batch(4)
  run = forward(LABELS)
  wanted = run(params_of(LABELS), batch)[0]
  padded = np.arange(DIMS["L"]) >= batch["text_length"][:, None]
  assert padded.any()
  garbage = {
    **batch,
    "text_ids": np.where(padded, 77, batch["text_ids"]).astype(np.int32),
    "text_types": np.where(padded, 1, batch["text_types"]).astype(np.int32),
  }
  np.testing.assert_array_equal(run(params_of(LABELS), garbage)[0], wanted)
  other = {**batch, "text_types": 1 - batch["text_types"]}
  assert np.abs(run(params_of(LABELS), other)[0] - wanted).max() > 1e-3


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
  """(a pretraining model's file, its task, its parameters)."""
  task = tiny_task(dropout=False)
  params = drawn_params(task, tiny_batch(batch_size=1), seed=1)
  path = tmp_path_factory.mktemp("weights") / "model.safetensors"
  write_safetensors(path, traverse_util.flatten_dict(params, sep="/"))
  return path, task, params


def test_it_starts_from_the_text_path_of_a_checkpoint(pretrained):
  """Nothing of it is random but the head, and it computes the same."""
  path, task, params = pretrained
  found, report = read_init(
    str(path), params_of(LABELS), config=CONFIG, format="export"
  )
  assert {name.split("/")[0] for name in report.random} == {"answer_head"}
  left_out = {"/".join(name.split("/")[:2]) for name in report.unused}
  assert {
    "encoder/region_embeddings",
    "encoder/region_encoder",
    "encoder/region_pooler",
  } == {name for name in left_out if name.startswith("encoder")}
  batch = make_batch(4)
  mask = np.arange(DIMS["L"]) < batch["text_length"][:, None]
  text = TextInput(batch["text_ids"], mask, batch["text_types"])
  head = params_of(LABELS)["answer_head"]

  @jax.jit
  def pooled(params):
    return task.model.apply(
      {"params": params}, text, None, method="encode"
    ).pooled_text

  dense = head["dense"]
  wanted = np.asarray(pooled(params)) @ dense["kernel"] + dense["bias"]
  started = {**found, "answer_head": head}
  logits = forward(LABELS)(started, batch)[0]
  np.testing.assert_allclose(logits, wanted, atol=1e-5)


def test_a_stream_that_is_no_stream_is_still_surplus(pretrained, tmp_path):
  """Only whole streams may be left out, not a layer of one."""
  _, _, params = pretrained
  flat = traverse_util.flatten_dict(params, sep="/")
  name = "encoder/text_encoder/layer_7/mlp_in/bias"
  flat[name] = np.zeros(3, np.float32)
  path = tmp_path / "model.safetensors"
  write_safetensors(path, flat)
  with pytest.raises(ValueError, match=f"surplus: {name}"):
    read_init(str(path), params_of(LABELS), config=CONFIG, format="export")


def padded_batches(whole, *, order=None, garbage=False):
  """The examples in batches of BATCH; rows behind the last weigh nothing."""
  rows = np.arange(2 * BATCH)
  real = rows < EXAMPLES
  index = np.minimum(rows, EXAMPLES - 1)
  if order is not None:
    index[:EXAMPLES] = order
  found = {key: value[index] for key, value in whole.items()}
  found["example_weight"] = real.astype(np.float32)
  if garbage:
    found["text_ids"][~real] = 5
    found["label"][~real] = 1 - found["label"][~real]
  return [
    {key: value[start : start + BATCH] for key, value in found.items()}
    for start in (0, BATCH)
  ]


@pytest.fixture(scope="module")
def evaluate():
  """(metrics, answers) of batches, by one compiled evaluator."""
  batches = []
  evaluator = TextEvaluator(
    predictor=Predictor(
      task=TextTask(CONFIG, num_labels=LABELS),
      parallel=make_parallel(),
      batches=EvalBatches(lambda: iter(batches)),
      num_examples=EXAMPLES,
    ),
    names=("accuracy",),
    labels=make_batch(EXAMPLES)["label"],
    is_regression=False,
  )

  def call(new):
    batches[:] = new
    outputs = evaluator.outputs(params_of(LABELS))
    return evaluator.metrics(outputs), evaluator.answers(outputs)

  return call


def test_every_example_counts_once_in_any_order(evaluate):
  whole = make_batch(EXAMPLES)
  logits = np.asarray(forward(LABELS)(params_of(LABELS), whole)[0])
  own = logits[np.arange(EXAMPLES), whole["label"]]
  wanted = {
    "loss": np.mean(np.log(np.exp(logits).sum(1)) - own),
    "accuracy": np.mean(logits.argmax(1) == whole["label"]),
  }
  order = np.random.default_rng(5).permutation(EXAMPLES)
  for batches in (
    padded_batches(whole),
    padded_batches(whole, order=order, garbage=True),
  ):
    found, predicted = evaluate(batches)
    assert found["score"] == found["accuracy"]
    for key, value in wanted.items():
      np.testing.assert_allclose(found[key], value, rtol=1e-5)
    # By id, wherever they stood.
    assert predicted.tolist() == logits.argmax(1).tolist()


@pytest.mark.parametrize("num_labels", [1, -1])
def test_numbers_of_labels_that_make_no_sense(num_labels):
  with pytest.raises(ValueError, match=f"num_labels is {num_labels}"):
    TextTask(CONFIG, num_labels=num_labels)
