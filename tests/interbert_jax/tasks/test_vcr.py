"""Choices are scored as texts are one by one, and joined by their ids."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interbert_jax.contract.batch import CHOICES, dummy_batch
from interbert_jax.evaluation.evaluators import EvalBatches
from interbert_jax.evaluation.predictions import Predictor
from interbert_jax.evaluation.vcr import VcrEvaluator
from interbert_jax.model.inputs import TextInput, region_input
from interbert_jax.model.interbert import InterBert
from interbert_jax.parallel import make_parallel
from interbert_jax.tasks.vcr import VcrTask
from tests.support.tiny_task import (
  DIMS,
  VOCAB,
  Known,
  image_side,
  tiny_config,
  visible_params,
)

B, T = 8, 4
CONFIG = tiny_config(dropout=False, num_interaction_layers=1)
TASK = VcrTask(CONFIG)


def make_batch():
  found = dummy_batch(
    CHOICES, dims={**DIMS, "B": B, "T": T}, vocab_size=VOCAB, seed=1
  )
  rng = np.random.default_rng(2)
  return {
    **found,
    "second_start": rng.integers(2, 4, (B, T)).astype(np.int32),
    "label": rng.integers(0, T, B).astype(np.int32),
    "objective": np.array([0, 1] * (B // 2), np.int32),
    "global_features": rng.normal(size=(B, DIMS["E"])).astype(np.float32),
    "example_weight": np.array([1] * 7 + [0], np.float32),
  }


BATCH = make_batch()


@pytest.fixture(scope="module")
def params():
  return visible_params(TASK, BATCH)


@pytest.fixture(scope="module")
def one_by_one(params):
  """Scores [B, T], each text in a batch of its own."""
  model = InterBert(CONFIG, {"choice_head": 1})

  @jax.jit
  def score(ids, length, second, features, boxes, size, count, whole):
    slots = jnp.arange(len(ids))
    types = ((slots >= second) & (slots < length)).astype(jnp.int32)
    regions = region_input(features[None], boxes[None], size[None], count[None])
    # The global region, as the batch has it.
    regions = regions.replace(features=regions.features.at[0, 0].set(whole))
    return model.apply(
      {"params": params},
      TextInput(ids[None], (slots < length)[None], types[None]),
      regions,
    )["choice_head"][0, 0]

  out = np.zeros((B, T))
  for i, t in np.ndindex(B, T):
    text = (BATCH[k][i, t] for k in ("text_ids", "text_length", "second_start"))
    image = image_side(BATCH).values()
    whole = BATCH["global_features"][i]
    out[i, t] = score(*text, *(array[i] for array in image), whole)
  return out


@jax.jit
def run(params, batch):
  inputs = TASK.prepare(batch, jax.random.key(0), train=True)
  return TASK.losses(params, inputs), TASK.weights(inputs)


def test_the_loss_is_a_softmax_over_the_texts(params, one_by_one):
  (sums, metrics), weights = jax.device_get(run(params, BATCH))
  wanted = 0
  for i in range(7):
    s = one_by_one[i].astype(np.float64)
    wanted += np.log(np.exp(s).sum()) - s[BATCH["label"][i]]
  np.testing.assert_allclose(sums["choice_loss"], wanted, rtol=1e-5)
  assert sums.keys() == weights.keys() == TASK.loss_weights.keys()
  assert weights["choice_loss"] == 7
  hits = one_by_one.argmax(1) == BATCH["label"]
  for name, rows in (("Q->A", [0, 2, 4, 6]), ("QA->R", [1, 3, 5])):
    assert metrics[name] == (hits[rows].sum(), len(rows))


def test_token_types_reach_the_model(params, one_by_one):
  """Scores are others where the second text begins elsewhere."""
  moved = {**BATCH, "second_start": BATCH["second_start"] * 0 + 99}
  (_, metrics), _ = jax.device_get(run(params, moved))
  (_, before), _ = jax.device_get(run(params, BATCH))
  assert abs(metrics["choice_loss"][0] - before["choice_loss"][0]) > 1e-3


@pytest.fixture(scope="module")
def parallel():
  return make_parallel(devices=jax.devices()[:1])


def predictor(parallel, batches, num_examples):
  return Predictor(
    task=TASK,
    parallel=parallel,
    batches=EvalBatches(lambda: batches),
    num_examples=num_examples,
  )


def test_outputs_are_joined_by_id(params, one_by_one, parallel):
  ids = np.array([3, 0, 6, 5, 2, 1, 4, 99], np.int32)
  called = []
  found = predictor(parallel, [{**BATCH, "example_id": ids}], 7).run(
    params, lambda: called.append(1)
  )
  assert len(called) == 1  # before every batch
  wanted = one_by_one[:7][np.argsort(ids[:7])]
  np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize(
  ("ids", "words"),
  [
    ([0, 1, 2, 3, 4, 5, 5, 7], "example 5 of 7 was read 2 times"),
    ([0, 1, 2, 3, 4, 6, 7, 7], "example 5 of 7 was read 0 times"),
  ],
)
def test_examples_that_come_never_or_twice(params, parallel, ids, words):
  batch = {**BATCH, "example_id": np.array(ids, np.int32)}
  with pytest.raises(ValueError, match=words):
    predictor(parallel, [batch], 7).run(params)


def test_outputs_that_are_not_finite(params, parallel):
  features = BATCH["region_features"].copy()
  features[4, 0, 0] = np.nan
  batch = {
    **BATCH,
    "region_features": features,
    "example_id": np.arange(B, dtype=np.int32),
  }
  with pytest.raises(ValueError, match="of example 4 are not finite"):
    predictor(parallel, [batch], 7).run(params)


def test_rationales_of_all_answers_count_for_the_right_one():
  rng = np.random.default_rng(0)
  scores = rng.normal(size=(3, 5, 4))
  labels = np.array([[2, 1], [0, 3], [3, 3]])
  evaluator = VcrEvaluator(
    predictor=Known(scores.reshape(15, 4)),
    objectives=("answer", *(f"rationale_of_{i}" for i in range(4))),
    labels=labels,
    image_of_question=np.array([0, 0, 1]),
  )
  found = evaluator.run(None)
  facts = evaluator.facts(evaluator.outputs(None))
  assert facts["interval_unit"] == "image"
  answers = scores[:, 0].argmax(1) == labels[:, 0]
  rationales = [
    scores[n, 1 + a].argmax() == r for n, (a, r) in enumerate(labels)
  ]
  assert found["Q->A"] == np.mean(answers)
  assert found["QA->R"] == np.mean(rationales)
  assert found["Q->AR"] == np.mean(answers & np.array(rationales))


def test_one_objective_alone():
  evaluator = VcrEvaluator(
    predictor=Known(np.eye(4)),
    objectives=("rationale",),
    labels=np.array([[9, 0], [9, 1], [9, 0], [9, 3]]),
    image_of_question=np.array([0, 0, 1, 1]),
  )
  found = evaluator.run(None)
  assert found["QA->R"] == 0.75 and found.keys() == {"loss", "QA->R"}
