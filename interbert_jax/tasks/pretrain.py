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

from interbert_jax.contract.batch import ArraySpec, limited, pretrain_spec
from interbert_jax.contract.errors import ConfigError
from interbert_jax.model.config import InterBertConfig
from interbert_jax.model.inputs import (
  RegionInput,
  TextInput,
  region_features,
  region_input,
  text_input,
)
from interbert_jax.model.interbert import (
  MATCH,
  MISMATCH,
  InterBertForPretraining,
)
from interbert_jax.tasks import losses, masking, rows


@struct.dataclass
class PretrainInputs:
  """Everything a step needs that depends on no parameter."""

  text: TextInput
  regions: RegionInput
  mlm_rows: rows.Rows
  mlm_labels: jax.Array  # [G, K]
  mrm_rows: rows.Rows
  mrm_classes: jax.Array | None  # [G, K, C]
  mrm_features: jax.Array | None  # [G, K, E]
  itm_labels: jax.Array  # [B]
  itm_weights: jax.Array  # [B]
  metrics: dict[str, losses.SumWeight]


# Of region classes, by the name in the configuration.
CLASS_LOSSES = {
  "kl": losses.kl_divergence,
  "hard": losses.hard_classes,
  "hard_confidence": losses.confident_classes,
}


def region_target(mrm_loss: str, mrm_feature_weight: float = 0.0) -> str:
  """What a model must predict of regions for these losses."""
  if mrm_loss != "features" and mrm_loss not in CLASS_LOSSES:
    raise ConfigError(
      f"mrm_loss {mrm_loss!r}; wanted {', '.join(CLASS_LOSSES)} or features"
    )
  if mrm_loss == "features":
    if mrm_feature_weight:
      raise ConfigError(
        f"mrm_feature_weight is {mrm_feature_weight:g}, but mrm_loss is "
        "features already; set mrm_weight"
      )
    return "features"
  return "both" if mrm_feature_weight else "classes"


@dataclasses.dataclass(frozen=True)
class PretrainTask:
  """The three objectives of the paper.

  Args:
    config: the model.
    text_masking, region_masking: the rules (masking.py).
    mlm_weight, mrm_weight, itm_weight: of each loss in the total; 0 leaves
      the objective out.
    mrm_loss: "kl" to the stored class distribution; "hard", cross-entropy with
      its most probable class; "hard_confidence", the same times that class's
      probability (LXMERT); or "features", squared error on the feature before
      masking.
    mrm_feature_weight: of the squared error beside a loss of classes, summed
      over the feature; above 0 the model's region_target is "both".
    mlm_on_mismatched, mrm_on_mismatched: whether words, or regions, of pairs
      that do not match are predicted too. The official code does so for words.
    global_region: what it sees where regions are hidden (inputs.py).
    conditional_masking: hides words or regions of a pair, never both: each in
      one half of the pairs, by a coin of the pair's position. The other
      modality is seen whole.
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
  mrm_feature_weight: float = 0.0
  mlm_on_mismatched: bool = True
  mrm_on_mismatched: bool = False
  global_region: str = "masked_sum"
  conditional_masking: bool = False
  group_size: int = 32
  mlm_rows: float = 6.0
  mrm_rows: float = 6.0
  feature_encoding: str = "float16"

  @property
  def batch_spec(self) -> dict[str, ArraySpec]:
    spec = pretrain_spec(
      self.feature_encoding, word_starts=self.text_masking.whole_word
    )
    return limited(spec, text_ids=self.config.vocab_size, is_match=2)

  def __post_init__(self):
    if self.global_region not in ("masked_sum", "visible_mean"):
      raise ConfigError(
        f"global_region {self.global_region!r}; wanted masked_sum or "
        "visible_mean"
      )
    if not self.loss_weights:
      raise ConfigError(
        "mlm_weight, mrm_weight, mrm_feature_weight and itm_weight are all 0; "
        "wanted one objective or more"
      )
    wanted = region_target(self.mrm_loss, self.mrm_feature_weight)
    if self.mrm_weight and self.config.region_target != wanted:
      raise ConfigError(
        f"mrm_loss {self.mrm_loss!r} with mrm_feature_weight "
        f"{self.mrm_feature_weight:g} needs model.region_target {wanted!r}, "
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
      "mrm_feature_loss": self.mrm_feature_weight,
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
      lambda key, ids, length, starts: masking.mask_tokens(
        key,
        ids,
        length,
        vocab_size=self.config.vocab_size,
        rules=self.text_masking,
        word_start_L=starts,
      )
    )(
      text_keys_B,
      batch["text_ids"],
      batch["text_length"],
      batch["text_word_start"] if self.text_masking.whole_word else None,
    )
    zeroed_BR, masked_BR = jax.vmap(
      lambda *x: masking.mask_regions(*x, rules=self.region_masking)
    )(region_keys_B, batch["region_boxes"], batch["num_regions"])
    if self.conditional_masking:
      # What is not hidden stays as it was: nothing of the other view leaks.
      words_B1 = masking.hides_words(keys_B)[:, None]
      text_ids_BL = jnp.where(words_B1, text_ids_BL, batch["text_ids"])
      chosen_BL = chosen_BL * words_B1
      zeroed_BR, masked_BR = zeroed_BR & ~words_B1, masked_BR * ~words_B1

    features_BRE = region_features(batch)
    regions = region_input(
      features_BRE,
      batch["region_boxes"],
      batch["image_size"],
      batch["num_regions"],
      hidden_BR=zeroed_BR,
      global_region=self.global_region,
    )
    weight_B = batch["example_weight"]
    match_B = batch["is_match"].astype(jnp.float32)
    both_B = (batch["num_regions"] > 0) & (batch["text_length"] > 0)
    mlm_example_B = weight_B * (1.0 if self.mlm_on_mismatched else match_B)
    mlm_weights_BL = chosen_BL * mlm_example_B[:, None]
    mrm_example_B = weight_B * (1.0 if self.mrm_on_mismatched else match_B)
    mrm_weights_BR = masked_BR * mrm_example_B[:, None]

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
    target = self.config.region_target
    pieces_B = jnp.maximum(batch["text_length"] - 2, 0) * weight_B
    return PretrainInputs(
      text=text_input(text_ids_BL, batch["text_length"]),
      regions=regions,
      mlm_rows=mlm_rows,
      mlm_labels=rows.take_rows(batch["text_ids"], mlm_rows),
      mrm_rows=mrm_rows,
      mrm_classes=None
      if target == "features"
      else rows.take_rows(batch["region_class_probs"], mrm_rows),
      mrm_features=None
      if target == "classes"
      else rows.take_rows(features_BRE, mrm_rows),
      itm_labels=jnp.where(batch["is_match"] == 1, MATCH, MISMATCH),
      itm_weights=weight_B * both_B,
      metrics={
        # What the recipe really did, as shares of all tokens and regions.
        "mlm_rate": (jnp.sum(chosen_BL * weight_B[:, None]), jnp.sum(pieces_B)),
        "mrm_rate": (
          jnp.sum(masked_BR * weight_B[:, None]),
          jnp.sum(batch["num_regions"] * weight_B),
        ),
        "match_rate": (
          jnp.sum(match_B * weight_B * both_B),
          jnp.sum(weight_B * both_B),
        ),
        "mlm_dropped": (mlm_rows.dropped, jnp.sum(mlm_weights_BL)),
        "mrm_dropped": (mrm_rows.dropped, jnp.sum(mrm_weights_BR)),
      },
    )

  def weights(self, inputs: PretrainInputs) -> dict[str, jax.Array]:
    weights = {
      "mlm_loss": jnp.sum(inputs.mlm_rows.weights_GK),
      "mrm_loss": jnp.sum(inputs.mrm_rows.weights_GK),
      "mrm_feature_loss": jnp.sum(inputs.mrm_rows.weights_GK),
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
      regions_GKD = rows.take_rows(encoded.regions[:, 1:], inputs.mrm_rows)
      return (
        model.mlm_logits(rows.take_rows(encoded.text, inputs.mlm_rows)),
        model.region_outputs(regions_GKD),
        model.predicted_features(regions_GKD) if both else None,
        model.match_logits(encoded, **train),
      )

    both = self.config.region_target == "both"
    mlm_logits, region_outputs, features, match_logits = self.model.apply(
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
    if self.config.region_target == "features":
      pairs["mrm_loss"] = losses.squared_error(
        region_outputs, inputs.mrm_features, mrm_weights
      )
    else:
      classes = (region_outputs, inputs.mrm_classes, mrm_weights)
      pairs["mrm_loss"] = CLASS_LOSSES[self.mrm_loss](*classes)
      labels = jnp.argmax(inputs.mrm_classes, -1)
      pairs["mrm_acc"] = losses.accuracy(region_outputs, labels, mrm_weights)
    if both:
      pairs["mrm_feature_loss"] = losses.squared_error(
        features, inputs.mrm_features, mrm_weights
      )
    sums = {name: pairs[name][0] for name in self.loss_weights}
    return sums, {**inputs.metrics, **pairs}
