"""Forward pass, losses and gradients equal the official implementation's.

The numbers in tests/golden come from the official PyTorch code in float32 on a
CPU; see tests/golden/README.md.
"""

import dataclasses
import functools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import common
from interbert_jax.contract.settings import read
from interbert_jax.model.inputs import RegionInput, TextInput, region_input
from interbert_jax.model.interbert import InterBert, pretraining_heads
from interbert_jax.tasks import masking, rows
from interbert_jax.tasks.pretrain import PretrainInputs, PretrainTask
from interbert_jax.tasks.settings import PretrainSettings
from interbert_jax.training import optim, steps
from interbert_jax.training.settings import OptimSettings
from interbert_jax.weights.official import params_from_torch, params_to_torch
from interbert_jax.weights.official_config import config_from_official
from interbert_jax.weights.official_names import official_heads
from tests.support.official_weights import REGION_KEYS, TEXT_KEYS, group

# Of the largest value of the tensor: float32 rounding through four layers.
TOLERANCE = 1e-5

OUTPUTS = {
  "text": "sequence_output_t",
  "regions": "sequence_output_v",
  "pooled_text": "pooled_output_t",
  "pooled_regions": "pooled_output_v",
  "mlm_head": "prediction_scores_t",
  "region_head": "prediction_scores_v",
  "match_head": "seq_relationship_score",
}
LOSSES = {
  "mlm_loss": "masked_lm_loss",
  "mrm_loss": "masked_img_loss",
  "itm_loss": "next_sentence_loss",
}


class Golden:
  def __init__(self, path):
    self.arrays = dict(np.load(path))
    self.config = config_from_official(
      json.loads(str(self.arrays["config_json"]))
    )
    self.weights = self.group("weights/")
    self.params = params_from_torch(self.weights, self.config)

  def __getitem__(self, key):
    return self.arrays[key]

  def group(self, prefix):
    return group(self.arrays, prefix)

  @property
  def text(self):
    return TextInput(*(self[f"batch/{k}"] for k in TEXT_KEYS))

  @property
  def regions(self):
    return RegionInput(*(self[f"batch/{k}"] for k in REGION_KEYS))

  @property
  def task(self):
    features = self.config.region_target == "features"
    settings = PretrainSettings(mrm_loss="features" if features else "kl")
    return PretrainTask(self.config, settings)

  @property
  def inputs(self):
    """The official batch, its -1 sentinels turned into labels and weights."""
    match_B = self["batch/is_next"] == 0
    mlm_BL = self["batch/lm_label_ids"] != -1
    mrm_BR = (self["batch/image_label"] == 1) & match_B[:, None]
    every = {"group_size": 1, "rows_per_example": math.inf}
    mlm_rows = rows.select_rows(jnp.float32(mlm_BL), **every)
    mrm_rows = rows.select_rows(jnp.float32(mrm_BR), **every)
    targets = rows.take_rows(jnp.asarray(self["batch/image_target"]), mrm_rows)
    return PretrainInputs(
      text=self.text,
      regions=self.regions,
      mlm_rows=mlm_rows,
      mlm_labels=rows.take_rows(
        jnp.maximum(self["batch/lm_label_ids"], 0), mlm_rows
      ),
      mrm_rows=mrm_rows,
      # Classes or features; the task reads the ones its model predicts.
      mrm_classes=targets,
      mrm_features=targets,
      itm_labels=jnp.asarray(self["batch/is_next"]),
      itm_weights=jnp.ones(len(match_B)),
      metrics={},
    )


@pytest.fixture(
  scope="module", params=["pretrain_kl", "pretrain_feature_regression"]
)
def golden(request, golden_dir):
  return Golden(golden_dir / f"{request.param}.npz")


def worst(found, wanted):
  """The largest difference over the largest value wanted."""
  found, wanted = np.asarray(found), np.asarray(wanted)
  assert found.shape == wanted.shape
  return np.abs(found - wanted).max() / np.abs(wanted).max()


def test_outputs(golden):
  model = InterBert(golden.config, pretraining_heads(golden.config))
  call = ({"params": golden.params}, golden.text, golden.regions)
  encode = functools.partial(model.apply, method="encode")
  outputs = jax.jit(model.apply)(*call) | vars(jax.jit(encode)(*call))
  errors = {
    ours: worst(outputs[ours], golden[f"out/{theirs}"])
    for ours, theirs in OUTPUTS.items()
  }
  assert max(errors.values()) < TOLERANCE, errors


def test_losses_and_gradients(golden):
  task, inputs = golden.task, golden.inputs
  weights = task.weights(inputs)

  def loss(params):
    sums, _ = task.losses(params, inputs)
    means = {name: sums[name] / weights[name] for name in sums}
    return sum(means.values()), means

  (_, means), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(
    golden.params
  )
  for ours, theirs in LOSSES.items():
    assert means[ours] == pytest.approx(
      float(golden[f"out/{theirs}"]), rel=TOLERANCE
    )
  found = params_to_torch(jax.device_get(grads), golden.config)
  wanted = golden.group("grad/")
  assert set(wanted) <= set(found)
  # Keys' biases have no effect on a softmax: their gradient is rounding only.
  scale = max(np.abs(g).max() for g in wanted.values())
  errors = {}
  for name, gradient in wanted.items():
    if name.endswith("key.bias"):
      assert np.abs(found[name]).max() < 1e-6 * scale, name
    else:
      errors[name] = worst(found[name], gradient)
  assert len(errors) > 80
  assert max(errors.values()) < TOLERANCE, max(
    errors.items(), key=lambda x: x[1]
  )


def test_downstream_outputs(golden_dir):
  golden = Golden(golden_dir / "pretrain_kl.npz")
  state_dict = {**golden.weights, **golden.group("vl_weights/")}
  params = params_from_torch(state_dict, golden.config)
  model = InterBert(golden.config, official_heads(golden.config))
  outputs = jax.jit(model.apply)(
    {"params": params}, golden.text, golden.regions
  )
  wanted = golden.group("vl_out/")
  pairs = {
    "answer_head": wanted["vil_prediction"],
    "choice_head": wanted["vil_logit"],
    "match_head": wanted["vil_binary_prediction"],
    "region_head": wanted["vision_prediction"],
    "region_choice_head": wanted["vision_logit"],
    "mlm_head": wanted["linguisic_prediction"],
    "token_choice_head": wanted["linguisic_logit"],
  }
  assert set(outputs) == set(pairs)
  for name, value in pairs.items():
    assert worst(outputs[name], value) < TOLERANCE, name
  back = params_to_torch(params, golden.config)
  assert back.keys() == state_dict.keys()


def test_device_preparation_equals_the_official_loader(golden):
  """From raw features, boxes and the chosen regions to the official batch."""
  masked_BR = golden["batch/image_label"] == 1
  features_BRE = np.where(
    masked_BR[..., None], 0, golden["raw/region_features"]
  ).astype(np.float32)
  size_B2 = np.stack([golden["raw/image_w"], golden["raw/image_h"]], axis=1)
  regions = region_input(
    jnp.asarray(features_BRE),
    jnp.asarray(golden["raw/boxes_xyxy"], jnp.float32),
    jnp.asarray(size_B2),
    jnp.asarray(golden["raw/num_boxes"]),
  )
  np.testing.assert_array_equal(regions.mask, golden["batch/image_mask"])
  real = golden["batch/image_mask"][..., None]
  for ours, theirs in (
    (regions.features, "image_feat"),
    (regions.locations, "image_loc"),
  ):
    assert worst(ours, golden[f"batch/{theirs}"] * real) < 1e-6


def test_region_masking(golden_dir):
  golden = dict(np.load(golden_dir / "region_masking.npz"))
  assert golden["masked"].any() and not golden["masked"].all()
  for i, box_R4 in enumerate(golden["boxes_xyxy"]):
    iou_RR = masking.pairwise_iou(jnp.asarray(box_R4))
    np.testing.assert_allclose(iou_RR, golden["iou"][i], atol=1e-6)
    masked_R = masking.iou_groups(
      jnp.asarray(golden["anchors"][i]), jnp.asarray(box_R4), len(box_R4), 0.4
    )
    np.testing.assert_array_equal(masked_R, golden["masked"][i])


@dataclasses.dataclass(frozen=True)
class OfficialBatch:
  """The pretraining task, fed with the official batch at every step."""

  golden: Golden

  def __getattr__(self, name):
    return getattr(self.golden.task, name)

  def prepare(self, batch, mask_key, *, train, parts=None):
    return self.golden.inputs


def test_five_steps_of_the_official_optimiser(golden):
  """The losses before every step, and every parameter after the fifth."""
  config = common.official_optimizer(common.base_config())
  config.optim.rate_groups = ((common.BERT_PARAMETERS, 0.1),)
  config.optim.lr = float(golden["opt/base_lr"])
  config.optim.warmup_fraction = float(golden["opt/warmup"])
  optimizer = optim.make_optimizer(
    golden.params,
    read(OptimSettings, config.optim.to_dict()),
    total_steps=int(golden["opt/t_total"]),
  )
  task = OfficialBatch(golden)
  step_fn = jax.jit(
    functools.partial(
      steps.train_step, task=task, tx=optimizer.tx, dropout=False
    )
  )
  state = steps.init_state(golden.params, optimizer.tx)
  for k in range(5):
    state, metrics = step_fn(state, {}, jax.random.key(0))
    for (name, weight), wanted in zip(
      task.loss_weights.items(), golden[f"opt/loss_{k}"], strict=True
    ):
      assert weight == 1
      value, count = metrics[name]
      assert float(value / count) == pytest.approx(wanted, rel=1e-6), (k, name)
  found = params_to_torch(jax.device_get(state.params), golden.config)
  wanted = golden.group("opt/after5/")
  assert set(wanted) <= set(found) and len(wanted) > 80
  first = golden.group("weights/")
  for name, value in wanted.items():
    if name.endswith("key.bias"):
      # Its gradient is rounding only, and Adam divides it by its own size.
      assert worst(found[name], value) < 1e-4
      continue
    # The five updates to four digits, and two roundings of the parameter. In
    # float64 the same steps are within a third of this of the golden numbers.
    update = np.abs(value - first[name]).max()
    np.testing.assert_allclose(
      found[name], value, rtol=2.4e-7, atol=1e-4 * update, err_msg=name
    )
