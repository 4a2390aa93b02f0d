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
from interbert_jax.contract.batch_sizes import Parts, examples_of, num_slots
from interbert_jax.contract.errors import ConfigError
from interbert_jax.model.config import InterBertConfig
from interbert_jax.model.heads import MATCH, MISMATCH
from interbert_jax.model.initializers import init_params
from interbert_jax.model.inputs import (
  RegionInput,
  TextInput,
  image_input,
  region_features,
  region_input,
  text_input,
)
from interbert_jax.model.interbert import InterBert, pretraining_heads
from interbert_jax.model.trunk import Read
from interbert_jax.tasks import losses, masking, rows
from interbert_jax.tasks.settings import PretrainSettings


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
  # Of which nothing is hidden, and their weights [B]; to train vectors.
  whole: tuple[TextInput, RegionInput, jax.Array] | None = None


# Losses of region classes, by their name in the settings.
CLASS_LOSSES = {
  "kl": losses.kl_divergence,
  "hard": losses.hard_classes,
  "hard_confidence": losses.confident_classes,
}


@dataclasses.dataclass(frozen=True)
class PretrainTask:
  """The three objectives of the paper.

  The heads run on at most mlm_rows and mrm_rows masked slots per example,
  shared within groups of examples; rows beyond that are dropped, and counted in
  mlm_dropped and mrm_dropped.

  Attributes:
    config: the model.
    settings: the rules and the weights of the losses.
    mask_id: the id of [MASK] in the vocabulary.
    feature_encoding: how batches hold features (contract/batch.py).
  """

  config: InterBertConfig
  settings: PretrainSettings = PretrainSettings()
  mask_id: int = 103
  feature_encoding: str = "float16"

  @property
  def batch_spec(self) -> dict[str, ArraySpec]:
    spec = pretrain_spec(
      self.feature_encoding, word_starts=self.settings.text_masking.whole_word
    )
    return limited(spec, text_ids=self.config.vocab_size, is_match=2)

  def __post_init__(self):
    wanted = self.settings.region_target
    if self.settings.mrm_weight and self.config.region_target != wanted:
      raise ConfigError(
        f"mrm_loss {self.settings.mrm_loss!r} with mrm_feature_weight "
        f"{self.settings.mrm_feature_weight:g} needs model.region_target "
        f"{wanted!r}, found {self.config.region_target!r}"
      )
    if not 0 <= self.mask_id < self.config.vocab_size:
      raise ConfigError(
        f"mask_id {self.mask_id} is outside the vocabulary of "
        f"{self.config.vocab_size}"
      )

  @property
  def group_size(self) -> int:
    return self.settings.group_size

  @property
  def model(self) -> InterBert:
    heads = pretraining_heads(self.config) | self.settings.vector_heads
    return InterBert(self.config, heads)

  @property
  def loss_weights(self) -> dict[str, float]:
    weights = self.settings.loss_weights
    return {name: weight for name, weight in weights.items() if weight}

  def init(self, rng: jax.Array, batch: Mapping[str, jax.Array]):
    first = {key: jnp.asarray(value[:1]) for key, value in batch.items()}
    inputs = self.prepare(first, jax.random.key(0), train=False)
    return init_params(self.model, rng, inputs.text, inputs.regions)

  def _masks(
    self, batch: Mapping[str, jax.Array], mask_key: jax.Array
  ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Masked ids and chosen tokens [B, L], zeroed and masked regions [B, R]."""
    settings = self.settings
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
        mask_id=self.mask_id,
        rules=settings.text_masking,
        word_start_L=starts,
      )
    )(
      text_keys_B,
      batch["text_ids"],
      batch["text_length"],
      batch["text_word_start"] if settings.text_masking.whole_word else None,
    )
    zeroed_BR, masked_BR = jax.vmap(
      lambda *x: masking.mask_regions(*x, rules=settings.region_masking)
    )(region_keys_B, batch["region_boxes"], batch["num_regions"])
    if settings.conditional_masking:
      # Each example is masked in its words or in its regions, never in both.
      words_B1 = masking.hides_words(keys_B)[:, None]
      text_ids_BL = jnp.where(words_B1, text_ids_BL, batch["text_ids"])
      chosen_BL = chosen_BL * words_B1
      zeroed_BR, masked_BR = zeroed_BR & ~words_B1, masked_BR * ~words_B1
    return text_ids_BL, chosen_BL, zeroed_BR, masked_BR

  def prepare(
    self,
    batch: Mapping[str, jax.Array],
    mask_key: jax.Array,
    *,
    train: bool,
    parts: Parts = None,
  ) -> PretrainInputs:
    """Masks a batch; in an evaluation no row is dropped."""
    settings = self.settings
    text_ids_BL, chosen_BL, zeroed_BR, masked_BR = self._masks(batch, mask_key)
    features_BRE = region_features(batch)
    regions = region_input(
      features_BRE,
      batch["region_boxes"],
      batch["image_size"],
      batch["num_regions"],
      zeroed_BR=zeroed_BR,
      global_region=settings.global_region,
    )
    weight_B = batch["example_weight"]
    match_B = batch["is_match"].astype(jnp.float32)
    both_B = (batch["num_regions"] > 0) & (batch["text_length"] > 0)
    mlm_example_B = weight_B * (1.0 if settings.mlm_on_mismatched else match_B)
    mlm_weights_BL = chosen_BL * mlm_example_B[:, None]
    mrm_example_B = weight_B * (1.0 if settings.mrm_on_mismatched else match_B)
    mrm_weights_BR = masked_BR * mrm_example_B[:, None]

    mlm_places, mrm_places = settings.mlm_rows, settings.mrm_rows
    group_size = examples_of(parts) or (settings.group_size if train else 1)
    if not train:  # as many as there are slots
      mlm_places = num_slots(parts) / group_size if parts else math.inf
      mrm_places = math.inf
    mlm_rows, mrm_rows = (
      rows.select_rows(weights, group_size=group_size, rows_per_example=places)
      for weights, places in (
        (mlm_weights_BL, mlm_places),
        (mrm_weights_BR, mrm_places),
      )
    )
    target = self.config.region_target
    pieces_B = jnp.maximum(batch["text_length"] - 2, 0) * weight_B
    return PretrainInputs(
      text=text_input(text_ids_BL, batch["text_length"], parts=parts),
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
        # What the masking really did, as shares of all tokens and regions.
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
      whole=(
        text_input(batch["text_ids"], batch["text_length"], parts=parts),
        image_input(batch),
        weight_B * both_B * match_B,
      )
      if settings.itc_weight
      else None,
    )

  def weights(self, inputs: PretrainInputs) -> dict[str, jax.Array]:
    weights = {
      "mlm_loss": jnp.sum(inputs.mlm_rows.weights_GK),
      "mrm_loss": jnp.sum(inputs.mrm_rows.weights_GK),
      "mrm_feature_loss": jnp.sum(inputs.mrm_rows.weights_GK),
      "itm_loss": jnp.sum(inputs.itm_weights),
    }
    if inputs.whole:
      weights["itc_loss"] = jnp.sum(inputs.whole[2])
    return {name: weights[name] for name in self.loss_weights}

  def losses(
    self,
    params,
    inputs: PretrainInputs,
    *,
    dropout_key: jax.Array | None = None,
    axis_name: str | None = None,
  ):
    train = {"deterministic": dropout_key is None}

    def forward(model: InterBert) -> dict[str, jax.Array]:
      # The global region is never masked, and not counted in the rows.
      read = Read(inputs.mlm_rows.index_GK, inputs.mrm_rows.index_GK)
      encoded = model.encode(inputs.text, inputs.regions, read=read, **train)
      hidden = {
        "text": encoded.text,
        "regions": encoded.regions,
        "pooled": model.pool(encoded),
      }
      outputs = model.read_all(hidden, **train)
      if inputs.whole:
        outputs["vector_head"] = model.vectors(*inputs.whole[:2], **train)
      return outputs

    outputs = self.model.apply(
      {"params": params},
      method=forward,
      rngs=None if dropout_key is None else {"dropout": dropout_key},
    )
    mlm = (outputs["mlm_head"], inputs.mlm_labels, inputs.mlm_rows.weights_GK)
    itm = (outputs["match_head"], inputs.itm_labels, inputs.itm_weights)
    regions, mrm_weights = outputs["region_head"], inputs.mrm_rows.weights_GK
    pairs = {
      "mlm_loss": losses.cross_entropy(*mlm),
      "mlm_acc": losses.accuracy(*mlm),
      "itm_loss": losses.cross_entropy(*itm),
      "itm_acc": losses.accuracy(*itm),
    }
    if self.config.region_target == "features":
      pairs["mrm_loss"] = losses.squared_error(
        regions, inputs.mrm_features, mrm_weights
      )
    else:
      pairs["mrm_loss"] = CLASS_LOSSES[self.settings.mrm_loss](
        regions, inputs.mrm_classes, mrm_weights
      )
      labels = jnp.argmax(inputs.mrm_classes, -1)
      pairs["mrm_acc"] = losses.accuracy(regions, labels, mrm_weights)
    if "region_feature_head" in outputs:
      pairs["mrm_feature_loss"] = losses.squared_error(
        outputs["region_feature_head"], inputs.mrm_features, mrm_weights
      )
    if inputs.whole:
      from interbert_jax.tasks.contrastive import contrast, image_keys

      _, regions, weight_B = inputs.whole
      pairs |= contrast(
        *outputs["vector_head"],
        key_B=image_keys(regions),
        weight_B=weight_B,
        axis_name=axis_name,
      )
    sums = {name: pairs[name][0] for name in self.loss_weights}
    return sums, {**inputs.metrics, **pairs}
