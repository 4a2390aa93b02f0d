"""Losses of retrieval fine-tuning against pairs scored one by one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from interbert_jax.contract.batch import CANDIDATES, dummy_batch
from interbert_jax.model.inputs import (
  TextInput,
  image_input,
  region_input,
  text_input,
)
from interbert_jax.model.interbert import InterBert
from interbert_jax.tasks.contrastive import contrast
from interbert_jax.tasks.retrieval import SCORES, RetrievalTask, pair_score
from interbert_jax.tasks.settings import RetrievalSettings
from interbert_jax.weights.init_from import read_init
from interbert_jax.weights.weights_file import write_safetensors
from tests.support.tiny_task import (
  DIMS,
  VOCAB,
  drawn_params,
  image_side,
  tiny_batch,
  tiny_config,
  tiny_task,
  visible_params,
)

B, T, I = 3, 4, 3
CONFIG = tiny_config(dropout=False)


@pytest.fixture(scope="module")
def batch():
  found = dummy_batch(
    CANDIDATES, dims={**DIMS, "B": B, "T": T, "I": I}, vocab_size=VOCAB, seed=1
  )
  return {**found, "example_weight": np.array([1, 1, 0], np.float32)}


def make_task(**options):
  return RetrievalTask(CONFIG, RetrievalSettings(**options))


@functools.lru_cache
def params_of(loss):
  task = make_task(loss=loss)
  example = dummy_batch(
    CANDIDATES, dims={**DIMS, "B": 1, "T": 1, "I": 1}, vocab_size=VOCAB
  )
  return visible_params(task, example)


@pytest.fixture(scope="module")
def one_by_one(batch):
  """Scores [B, T, I] of all pairs, each in a batch of its own shape."""

  @functools.lru_cache
  def scores(loss):
    model = InterBert(CONFIG, SCORES[loss])

    @jax.jit
    def score(params, ids, length, features, boxes, size, count):
      mask = jnp.arange(len(ids)) < length
      outputs = model.apply(
        {"params": params},
        TextInput(ids[None], mask[None]),
        region_input(features[None], boxes[None], size[None], count[None]),
      )
      return pair_score(outputs)[0]

    out = np.zeros((B, T, I))
    for b, t, i in np.ndindex(out.shape):
      text = (batch[key][b, t] for key in ("text_ids", "text_length"))
      image = (array[b, i] for array in image_side(batch).values())
      out[b, t, i] = score(params_of(loss), *text, *image)
    return out

  return scores


def losses_of(task, batch):
  params = params_of(task.settings.loss)

  @jax.jit
  def run(params, batch):
    inputs = task.prepare(batch, jax.random.key(0), train=True)
    return task.losses(params, inputs), task.weights(inputs)

  (sums, metrics), weights = jax.device_get(run(params, batch))
  assert sums.keys() == weights.keys() == task.loss_weights.keys()
  return sums, metrics, weights


def star(scores_TI):
  """The own image with every text, then the own text with other images."""
  return np.concatenate([scores_TI[:, 0], scores_TI[0, 1:]])


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def test_match_is_two_classes_of_every_pair(batch, one_by_one):
  sums, metrics, weights = losses_of(make_task(), batch)
  wanted = []
  for b in range(2):
    s = star(one_by_one("match")[b])
    # log of 1 + exp(-s) for the own pair, of 1 + exp(s) for the others.
    wanted.append(np.mean(np.log1p(np.exp(np.r_[-s[0], s[1:]]))))
  np.testing.assert_allclose(sums["match_loss"], sum(wanted), rtol=1e-5)
  assert weights["match_loss"] == 2
  best = [np.argmax(star(x)) == 0 for x in one_by_one("match")[:2]]
  assert metrics["accuracy"][0] == sum(best)


def test_choice_is_a_softmax_over_the_pairs(batch, one_by_one):
  sums, _, _ = losses_of(make_task(loss="choice"), batch)
  wanted = 0
  for b in range(2):
    s = star(one_by_one("choice")[b])
    wanted += np.log(np.exp(s).sum()) - s[0]
  np.testing.assert_allclose(sums["choice_loss"], wanted, rtol=1e-5)


def test_vectors_are_trained_on_own_pairs(batch):
  """Beside a loss that stays as it is."""
  task = make_task(itc_weight=0.5, vector_dim=6)
  params = dict(params_of("match"))
  fresh = jax.jit(task.init)(jax.random.key(3), batch)
  params["vector_head"] = fresh["vector_head"]

  @jax.jit
  def run(params, batch):
    inputs = task.prepare(batch, jax.random.key(0), train=True)
    sums, metrics = task.losses(params, inputs)
    # Each example by itself, without the others.
    own = {k: batch[k][:, 0] for k in ("text_ids", "text_length")}
    images = {k: v[:, 0] for k, v in image_side(batch).items()}
    vectors = task.model.apply(
      {"params": params},
      text_input(own["text_ids"], own["text_length"]),
      image_input(images),
      method="vectors",
    )
    wanted = contrast(
      *vectors,
      key_B=jnp.arange(B, dtype=jnp.float32),
      weight_B=batch["example_weight"],
    )
    return sums, metrics, task.weights(inputs), wanted

  sums, metrics, weights, wanted = jax.device_get(run(params, batch))
  alone, _, _ = losses_of(make_task(), batch)
  assert sums["match_loss"] == pytest.approx(alone["match_loss"], rel=1e-6)
  assert sums["itc_loss"] == pytest.approx(wanted["itc_loss"][0], rel=1e-5)
  assert metrics["itc_loss"][1] == weights["itc_loss"] == 2
  assert task.loss_weights == {"match_loss": 1.0, "itc_loss": 0.5}


@pytest.mark.parametrize("hardest", [0, 1, 2, 9])
def test_triplets(batch, one_by_one, hardest):
  task = make_task(loss="triplet", margin=0.3, hardest=hardest)
  sums, _, _ = losses_of(task, batch)
  wanted = 0
  for b in range(2):
    scores = sigmoid(one_by_one("triplet")[b])
    keep = hardest or 9
    others = np.r_[
      np.sort(scores[1:, 0])[::-1][:keep], np.sort(scores[0, 1:])[::-1][:keep]
    ]
    wanted += np.mean(np.maximum(0.3 + others - scores[0, 0], 0))
  np.testing.assert_allclose(sums["triplet_loss"], wanted, rtol=1e-4)


def test_the_search_for_the_hardest_has_no_gradient(batch, one_by_one):
  """The gradient is that of the chosen triplets alone."""
  task = make_task(loss="triplet", hardest=1)
  scores = one_by_one("triplet")
  texts = 1 + scores[:, 1:, 0].argmax(1)
  images = 1 + scores[:, 0, 1:].argmax(1)
  rows = np.arange(B)[:, None]
  chosen = {
    key: value[
      rows, np.stack([0 * texts, texts if "text" in key else images], 1)
    ]
    if value.ndim > 1
    else value
    for key, value in batch.items()
  }

  def gradient(task, batch):
    def loss(params):
      inputs = task.prepare(
        jax.tree.map(jnp.asarray, batch), jax.random.key(0), train=True
      )
      return task.losses(params, inputs)[0]["triplet_loss"]

    return jax.device_get(jax.jit(jax.grad(loss))(params_of("triplet")))

  plain = gradient(make_task(loss="triplet"), chosen)
  found = gradient(task, batch)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), found, plain
  )


def test_it_starts_from_a_pretraining_checkpoint(tmp_path):
  """Encoder and matching head are taken; the other heads are left and named."""
  pretrain = tiny_task(dropout=False)
  params = drawn_params(pretrain, tiny_batch(batch_size=1), seed=1)
  path = tmp_path / "model.safetensors"
  write_safetensors(path, traverse_util.flatten_dict(params, sep="/"))
  found, report = read_init(
    str(path), params_of("match"), config=CONFIG, format="export"
  )
  assert not report.random
  assert {name.split("/")[0] for name in report.unused} == {
    "mlm_head",
    "region_head",
  }
  np.testing.assert_array_equal(
    found["match_head"]["dense"]["kernel"],
    params["match_head"]["dense"]["kernel"],
  )
