"""The objectives' options: what is hidden, what is predicted, what is added."""

import jax
import numpy as np
import pytest

from interbert_jax.contract.batch import check_batch
from interbert_jax.contract.errors import ConfigError
from interbert_jax.tasks import losses
from interbert_jax.tasks.rows import take_rows
from interbert_jax.tasks.settings import TextMasking
from tests.support.tiny_task import BATCH, tiny_batch, tiny_task

KEY = jax.random.key(0)
TOKENS = TextMasking(rule="token", rate=0.5)


def prepared(batch=None, *, train=False, **options):
  task = tiny_task(text_masking=TOKENS, **options)
  batch = tiny_batch() if batch is None else batch
  return task, jax.jit(lambda b: task.prepare(b, KEY, train=train))(batch)


def hidden_words(inputs, batch):
  return (np.asarray(inputs.text.ids) != batch["text_ids"]).any(1)


def zeroed_regions(inputs, batch):
  features = np.asarray(inputs.regions.features[:, 1:])
  return ((features == 0).all(2) & (batch["region_features"] != 0).any(2)).any(
    1
  )


def test_conditional_masking_shows_the_other_modality_whole():
  batch = tiny_batch()
  _, both = prepared(batch)
  assert (hidden_words(both, batch) & zeroed_regions(both, batch)).any()
  _, inputs = prepared(batch, conditional_masking=True)
  words, regions = hidden_words(inputs, batch), zeroed_regions(inputs, batch)
  assert words.any() and regions.any()
  assert not (words & regions).any()
  # The global region is the mean of what is seen: of all where words are hid.
  shown = batch["region_features"].astype(np.float32)
  mean = shown.sum(1) / np.maximum(batch["num_regions"], 1)[:, None]
  np.testing.assert_allclose(
    inputs.regions.features[words, 0], mean[words], rtol=1e-5, atol=1e-6
  )
  # Nothing is predicted that is not hidden.
  mlm = np.asarray(inputs.mlm_rows.weights_GK).reshape(BATCH, -1).any(1)
  mrm = np.asarray(inputs.mrm_rows.weights_GK).reshape(BATCH, -1).any(1)
  assert not (mlm & mrm).any()
  assert not (mrm & words).any()


@pytest.mark.parametrize("kind", ["masked_sum", "visible_mean"])
def test_the_global_region_over_all_or_over_those_shown(kind):
  batch = tiny_batch()
  _, inputs = prepared(batch, global_region=kind)
  shown = np.asarray(inputs.regions.features[:, 1:])
  visible = (shown != 0).any(2).sum(1)
  assert (visible < batch["num_regions"]).any()
  count = batch["num_regions"] if kind == "masked_sum" else visible
  wanted = shown.sum(1) / np.maximum(count, 1)[:, None]
  np.testing.assert_allclose(
    inputs.regions.features[:, 0], wanted, rtol=1e-5, atol=1e-6
  )


@pytest.mark.parametrize("mlm", [True, False])
@pytest.mark.parametrize("mrm", [True, False])
def test_mismatched_pairs(mlm, mrm):
  batch = {**tiny_batch(), "is_match": np.zeros(BATCH, np.int32)}
  _, inputs = prepared(batch, mlm_on_mismatched=mlm, mrm_on_mismatched=mrm)
  assert bool(inputs.mlm_rows.weights_GK.any()) == mlm
  assert bool(inputs.mrm_rows.weights_GK.any()) == mrm
  assert inputs.itm_weights.sum() == BATCH


def test_whole_words_need_their_beginnings():
  rules = TextMasking(rule="token", rate=0.5, whole_word=True)
  task = tiny_task(text_masking=rules)
  assert "text_word_start" in task.batch_spec
  with pytest.raises(ValueError, match="text_word_start: missing"):
    check_batch(tiny_batch(), task.batch_spec)


@pytest.fixture(scope="module")
def both():
  task, inputs = prepared(region_target="both", mrm_feature_weight=0.25)
  params = task.init(jax.random.key(1), tiny_batch())
  sums, metrics = jax.jit(task.losses)(params, inputs)
  return task, inputs, params, sums, metrics


def test_classes_and_features_together(both):
  task, inputs, params, sums, metrics = both
  assert task.loss_weights["mrm_feature_loss"] == 0.25
  weights = task.weights(inputs)
  assert weights["mrm_feature_loss"] == weights["mrm_loss"] > 0
  heads = jax.jit(task.model.apply)(
    {"params": params}, inputs.text, inputs.regions
  )
  outputs, features = (
    heads[name][:, 1:] for name in ("region_head", "region_feature_head")
  )
  targets = tiny_batch()["region_features"]
  rows = inputs.mrm_rows
  wanted = losses.squared_error(
    take_rows(features, rows), take_rows(targets, rows), rows.weights_GK
  )
  assert sums["mrm_feature_loss"] == pytest.approx(float(wanted[0]), rel=1e-5)
  probs = tiny_batch()["region_class_probs"]
  wanted = losses.kl_divergence(
    take_rows(outputs, rows), take_rows(probs, rows), rows.weights_GK
  )
  assert sums["mrm_loss"] == pytest.approx(float(wanted[0]), rel=1e-5)
  assert set(metrics) >= {"mrm_loss", "mrm_feature_loss", "mrm_acc"}


def test_confidence_weighs_classes(both):
  _, inputs, params, _, _ = both
  found = {}
  for name in ("hard", "hard_confidence"):
    task = tiny_task(
      mrm_loss=name, region_target="both", mrm_feature_weight=0.25
    )
    found[name], _ = jax.jit(task.losses)(params, inputs)
  assert 0 < found["hard_confidence"]["mrm_loss"] < found["hard"]["mrm_loss"]


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"mrm_loss": "features"}, "needs model.region_target 'features'"),
    ({"mrm_feature_weight": 0.5}, "needs model.region_target 'both'"),
    (
      {
        "mrm_loss": "features",
        "mrm_feature_weight": 0.5,
        "region_target": "features",
      },
      "mrm_loss is features already",
    ),
  ],
)
def test_losses_that_do_not_fit(options, words):
  with pytest.raises(ConfigError, match=words):
    tiny_task(**options)
