"""Pretraining: masked segments, masked regions, image-text matching.

Dimensions: B examples, L text slots, R region slots, E region feature,
C region classes, G groups and K rows of the gathered heads (rows.py).
"""

import dataclasses
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import struct

from interbert_jax import losses, masking, rows
from interbert_jax.batch import ArraySpec, pretrain_spec
from interbert_jax.config import InterBertConfig
from interbert_jax.errors import ConfigError
from interbert_jax.inputs import (
  RegionInput,
  TextInput,
  region_features,
  region_input,
)
from interbert_jax.model import (
  MATCH,
  MISMATCH,
  InterBertForPretraining,
)


@struct.dataclass
class PretrainInputs:
  """Everything a step needs that depends on no parameter."""

  text: TextInput
  regions: RegionInput
  mlm_rows: rows.Rows
  mlm_labels: jax.Array  # [G, K]
  mrm_rows: rows.Rows
  mrm_targets: jax.Array  # [G, K, C] or [G, K, E]
  itm_labels: jax.Array  # [B]
  itm_weights: jax.Array  # [B]
  metrics: dict[str, losses.SumWeight]


@dataclasses.dataclass(frozen=True)
class PretrainTask:
  """The three objectives of the paper.

  Args:
    config: the model.
    text_masking, region_masking: the rules (masking.py).
    mlm_weight, mrm_weight, itm_weight: of each loss in the total; 0 leaves
      the objective out.
    mrm_loss: "kl" to the stored class distribution, "hard" cross-entropy with
      its most probable class, or "features", squared error on the feature
      before masking (needs a model whose region_target is "features").
    mlm_on_mismatched: whether captions of other images are masked and
      predicted too, as in the official code. Regions are predicted for
      matching pairs only.
    group_size, mlm_rows, mrm_rows: the heads run on at most mlm_rows and
      mrm_rows masked slots per example, pooled over groups of group_size
      examples; what finds no place is counted in mlm_dropped, mrm_dropped.
    feature_encoding: of the batches (batch.pretrain_spec).
  """

  config: InterBertConfig
  text_masking: masking.TextMasking = masking.TextMasking()
  region_masking: masking.RegionMasking = masking.RegionMasking()
  mlm_weight: float = 1.0
  mrm_weight: float = 1.0
  itm_weight: float = 1.0
  mrm_loss: str = "kl"
  mlm_on_mismatched: bool = True
  group_size: int = 32
  mlm_rows: float = 6.0
  mrm_rows: float = 6.0
  feature_encoding: str = "float16"

  @property
  def batch_spec(self) -> dict[str, ArraySpec]:
    return pretrain_spec(self.feature_encoding)

  def __post_init__(self):
    wanted = "features" if self.mrm_loss == "features" else "classes"
    if self.mrm_loss not in ("kl", "hard", "features"):
      raise ConfigError(
        f"mrm_loss {self.mrm_loss!r}; wanted kl, hard or features"
      )
    if self.mrm_weight and self.config.region_target != wanted:
      raise ConfigError(
        f"mrm_loss {self.mrm_loss!r} needs model.region_target {wanted!r}, "
        f"found {self.config.region_target!r}"
      )

    if not 0 <= self.text_masking.mask_id < self.config.vocab_size:
      raise ConfigError(
        f"text_masking.mask_id {self.text_masking.mask_id} is outside the "
        f"vocabulary of {self.config.vocab_size}"
      )

  @property
  def model(self) -> InterBertForPretraining:
    return InterBertForPretraining(self.config)

  @property
  def loss_weights(self) -> dict[str, float]:
    weights = {
      "mlm_loss": self.mlm_weight,
      "mrm_loss": self.mrm_weight,
      "itm_loss": self.itm_weight,
    }
    return {name: weight for name, weight in weights.items() if weight}

  def init(self, rng: jax.Array, batch: Mapping[str, jax.Array]):
    first = {key: jnp.asarray(value[:1]) for key, value in batch.items()}
    inputs = self.prepare(first, jax.random.key(0), train=False)
    return self.model.init(rng, inputs.text, inputs.regions)["params"]

  def prepare(
    self, batch: Mapping[str, jax.Array], mask_key: jax.Array, *, train: bool
  ) -> PretrainInputs:
    """Masks a batch. Evaluation gathers every slot, so nothing is dropped."""
    keys_B = masking.example_keys(mask_key, batch["position"])
    text_keys_B, region_keys_B = jnp.moveaxis(
      jax.vmap(jax.random.split)(keys_B), 1, 0
    )
    text_ids_BL, chosen_BL = jax.vmap(
      lambda *x: masking.mask_tokens(
        *x, vocab_size=self.config.vocab_size, rules=self.text_masking
      )
    )(text_keys_B, batch["text_ids"], batch["text_length"])
    zeroed_BR, masked_BR = jax.vmap(
      lambda *x: masking.mask_regions(*x, rules=self.region_masking)
    )(region_keys_B, batch["region_boxes"], batch["num_regions"])

    features_BRE = region_features(batch)
    regions = region_input(
      jnp.where(zeroed_BR[..., None], 0, features_BRE),
      batch["region_boxes"],
      batch["image_size"],
      batch["num_regions"],
    )
    length = text_ids_BL.shape[1]
    text_mask_BL = jnp.arange(length) < batch["text_length"][:, None]

    weight_B = batch["example_weight"]
    match_B = batch["is_match"].astype(jnp.float32)
    both_B = (batch["num_regions"] > 0) & (batch["text_length"] > 0)
    mlm_example_B = weight_B * (1.0 if self.mlm_on_mismatched else match_B)
    mlm_weights_BL = chosen_BL * mlm_example_B[:, None]
    mrm_weights_BR = masked_BR * (weight_B * match_B)[:, None]

    def select(weights_BN, rows_per_example):
      if not train:
        return rows.select_rows(
          weights_BN, group_size=1, rows_per_example=math.inf
        )
      return rows.select_rows(
        weights_BN,
        group_size=self.group_size,
        rows_per_example=rows_per_example,
      )

    mlm_rows = select(mlm_weights_BL, self.mlm_rows)
    mrm_rows = select(mrm_weights_BR, self.mrm_rows)
    targets = (
      features_BRE
      if self.mrm_loss == "features"
      else batch["region_class_probs"]
    )
    pieces_B = jnp.maximum(batch["text_length"] - 2, 0) * weight_B
    return PretrainInputs(
      text=TextInput(text_ids_BL, text_mask_BL),
      regions=regions,
      mlm_rows=mlm_rows,
      mlm_labels=rows.take_rows(batch["text_ids"], mlm_rows),
      mrm_rows=mrm_rows,
      mrm_targets=rows.take_rows(targets, mrm_rows),
      itm_labels=jnp.where(batch["is_match"] == 1, MATCH, MISMATCH),
      itm_weights=weight_B * both_B,
      metrics={
        # What the recipe really did, as shares of all tokens and regions.
        "mlm_rate": (jnp.sum(chosen_BL * weight_B[:, None]), jnp.sum(pieces_B)),
        "mrm_rate": (
          jnp.sum(masked_BR * weight_B[:, None]),
          jnp.sum(batch["num_regions"] * weight_B),
        ),
        "match_rate": (jnp.sum(match_B * weight_B), jnp.sum(weight_B)),
        "mlm_dropped": (mlm_rows.dropped, jnp.sum(mlm_weights_BL)),
        "mrm_dropped": (mrm_rows.dropped, jnp.sum(mrm_weights_BR)),
      },
    )

  def weights(self, inputs: PretrainInputs) -> dict[str, jax.Array]:
    weights = {
      "mlm_loss": jnp.sum(inputs.mlm_rows.weights_GK),
      "mrm_loss": jnp.sum(inputs.mrm_rows.weights_GK),
      "itm_loss": jnp.sum(inputs.itm_weights),
    }
    return {name: weights[name] for name in self.loss_weights}

  def losses(
    self,
    params,
    inputs: PretrainInputs,
    *,
    dropout_key: jax.Array | None = None,
  ):
    train = {"deterministic": dropout_key is None}

    def forward(model: InterBertForPretraining):
      encoded = model.encode(inputs.text, inputs.regions, **train)
      # Region slot 0 is the global region, which is never masked.
      return (
        model.mlm_logits(rows.take_rows(encoded.text, inputs.mlm_rows)),
        model.region_outputs(
          rows.take_rows(encoded.regions[:, 1:], inputs.mrm_rows)
        ),
        model.match_logits(encoded, **train),
      )

    mlm_logits, region_outputs, match_logits = self.model.apply(
      {"params": params},
      method=forward,
      rngs=None if dropout_key is None else {"dropout": dropout_key},
    )
    mrm_weights = inputs.mrm_rows.weights_GK
    mlm = (mlm_logits, inputs.mlm_labels, inputs.mlm_rows.weights_GK)
    itm = (match_logits, inputs.itm_labels, inputs.itm_weights)
    pairs = {
      "mlm_loss": losses.cross_entropy(*mlm),
      "mlm_acc": losses.accuracy(*mlm),
      "itm_loss": losses.cross_entropy(*itm),
      "itm_acc": losses.accuracy(*itm),
    }
    if self.mrm_loss == "features":
      pairs["mrm_loss"] = losses.squared_error(
        region_outputs, inputs.mrm_targets, mrm_weights
      )
    else:
      hard = (region_outputs, jnp.argmax(inputs.mrm_targets, -1), mrm_weights)
      pairs["mrm_acc"] = losses.accuracy(*hard)
      pairs["mrm_loss"] = (
        losses.cross_entropy(*hard)
        if self.mrm_loss == "hard"
        else losses.kl_divergence(
          region_outputs, inputs.mrm_targets, mrm_weights
        )
      )
    sums = {name: pairs[name][0] for name in self.loss_weights}
    return sums, {**inputs.metrics, **pairs}
