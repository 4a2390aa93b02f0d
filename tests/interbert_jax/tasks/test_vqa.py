"""The loss and the accuracy of VQA against dense targets."""

import jax
import numpy as np
import optax
import pytest

from interbert_jax.contract.batch import ANSWERS, dummy_batch
from interbert_jax.evaluation.results import linked, mean_interval
from interbert_jax.evaluation.vqa import VqaEvaluator
from interbert_jax.tasks.vqa import VqaTask
from tests.support.tiny_task import (
  DIMS,
  VOCAB,
  Known,
  tiny_config,
  visible_params,
)

B, A = 4, 7
CONFIG = tiny_config(dropout=False, num_interaction_layers=1)
TASK = VqaTask(CONFIG, num_answers=A)


def make_batch():
  found = dummy_batch(ANSWERS, dims={**DIMS, "B": B}, vocab_size=VOCAB, seed=1)
  ids, scores, accuracy = (np.zeros((B, 10)) for _ in range(3))
  ids[0, :3], scores[0, :3], accuracy[0, :3] = [5, 0, 2], [1, 1 / 3, 2 / 3], 0.5
  ids[1, 0], scores[1, 0], accuracy[1, 0] = 6, 1, 0.9
  # The third question has no answer of the vocabulary.
  ids[3, 0], scores[3, 0], accuracy[3, 0] = 1, 1, 1
  return {
    **found,
    "answer_ids": ids.astype(np.int32),
    "answer_scores": scores.astype(np.float32),
    "answer_accuracy": accuracy.astype(np.float32),
    "example_weight": np.array([1, 1, 1, 0], np.float32),
  }


BATCH = make_batch()


def test_the_loss_is_binary_cross_entropy_summed_over_answers():
  params = visible_params(TASK, BATCH)

  @jax.jit
  def run(params, batch):
    inputs = TASK.prepare(batch, jax.random.key(0), train=True)
    logits = TASK.logits(params, inputs)
    out = TASK.outputs(params, inputs)
    return TASK.losses(params, inputs), TASK.weights(inputs), logits, out

  (sums, metrics), weights, logits, out = jax.device_get(run(params, BATCH))
  dense = np.zeros((B, A))
  for row in range(B):
    for answer, score in zip(
      BATCH["answer_ids"][row], BATCH["answer_scores"][row], strict=True
    ):
      dense[row, answer] += score
  wanted = optax.sigmoid_binary_cross_entropy(logits, dense).sum(1)
  np.testing.assert_allclose(sums["answer_loss"], wanted[:3].sum(), rtol=1e-5)
  assert sums.keys() == weights.keys() == TASK.loss_weights.keys()
  assert weights["answer_loss"] == 3
  best = logits.argmax(1)
  np.testing.assert_array_equal(out[:, 0], best)
  np.testing.assert_array_equal(out[:, 1], logits.max(1))
  accuracy = 0.5 * (best[0] in (5, 0, 2)) + 0.9 * (best[1] == 6)
  np.testing.assert_allclose(metrics["accuracy"], (accuracy, 3))


def known(answers):
  return Known(np.stack([answers, np.zeros(len(answers))], 1))


def test_accuracies_by_kind():
  evaluator = VqaEvaluator(
    predictor=known([5, 6, 0, 0]),
    answer_ids=BATCH["answer_ids"],
    answer_accuracy=BATCH["answer_accuracy"],
    answer_types=["other", "yes/no", "other", "number"],
    image_of_question=np.array([0, 0, 1, 2]),
  )
  found = evaluator.run(None)
  assert found == {
    "accuracy": pytest.approx((0.5 + 0.9) / 4),
    "accuracy_number": 0,
    "accuracy_other": 0.25,
    "accuracy_yes/no": pytest.approx(0.9),
  }
  # Answer 0 stands in the empty places too, and counts nothing there.
  np.testing.assert_allclose(evaluator.accuracies(np.zeros(4)), [0.5, 0, 0, 0])


def test_what_belongs_together_is_drawn_together():
  """Ten equal values an image: the interval of the images' means."""
  rng = np.random.default_rng(0)
  of_image = rng.integers(0, 2, 40).astype(float)
  values, groups = of_image.repeat(10), np.arange(40).repeat(10)
  shuffled = rng.permutation(len(values))
  found = mean_interval(values[shuffled], groups=groups[shuffled])
  assert found == mean_interval(of_image)
  low, high = mean_interval(values)
  assert high - low < 0.5 * (found[1] - found[0])


def test_groups_of_pairs():
  """Texts 0 and 2 share image 5; text 1 has images of its own."""
  texts, images = np.array([0, 1, 2, 1, 0]), np.array([5, 7, 5, 8, 6])
  group = linked(texts, images)
  assert group[0] == group[2] == group[4] != group[1] == group[3]


def test_the_interval_of_texts_in_groups_covers_the_mean():
  """Of 300 samples, 95 % of intervals have the true mean; 80 % without."""
  rng = np.random.default_rng(1)
  covered = {True: 0, False: 0}
  for _ in range(300):
    values = rng.random((60, 1)) + 0.2 * rng.normal(size=(60, 5))
    images = np.arange(60).repeat(5)
    for grouped in covered:
      low, high = mean_interval(
        values.ravel(), groups=images if grouped else None, samples=200
      )
      covered[grouped] += low <= 0.5 <= high
  assert covered[True] >= 0.91 * 300 and covered[False] < 0.8 * 300


def test_questions_of_an_image_are_drawn_together():
  """One image is all right and one all wrong: any share may come out."""
  N = 20
  evaluator = VqaEvaluator(
    predictor=known(np.zeros(N, int)),
    answer_ids=np.repeat([[0], [1]], N // 2, axis=0),
    answer_accuracy=np.ones((N, 1)),
    answer_types=["other"] * N,
    image_of_question=np.repeat([7, 9], N // 2),
  )
  facts = evaluator.facts(evaluator.outputs(None))
  assert facts["intervals_95"]["accuracy"] == (0.0, 1.0)
