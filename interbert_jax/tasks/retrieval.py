"""Fine-tuning for retrieval: a caption's own image among other pairs.

Dimensions: B examples, T texts and I images of an example (its own first), P
pairs of an example: its image with every text, then its text with every other
image. L text slots, R region slots.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from interbert_jax.contract.batch import (
  CANDIDATES,
  ArraySpec,
  encoded_spec,
  limited,
)
from interbert_jax.contract.errors import ConfigError
from interbert_jax.model.config import InterBertConfig
from interbert_jax.model.finetuned import (
  CHOICE_HEAD,
  MATCH_HEAD,
  InterBertForTask,
)
from interbert_jax.model.inputs import (
  RegionInput,
  TextInput,
  image_input,
  text_input,
)
from interbert_jax.model.interbert import MATCH, MISMATCH
from interbert_jax.tasks import losses

LOSSES = ("match", "choice", "triplet")
# Head and outputs that score a pair, by the loss that trains it.
SCORES = {
  "match": (MATCH_HEAD, 2),
  "choice": (CHOICE_HEAD, 1),
  "triplet": (MATCH_HEAD, 2),
}


@struct.dataclass
class CandidateInputs:
  """Texts [B * T], regions [B * I], the weight of every example [B]."""

  text: TextInput
  regions: RegionInput
  weight: jax.Array
  num_texts: int = struct.field(pytree_node=False)
  num_images: int = struct.field(pytree_node=False)


def pair_score(logits_NO: jax.Array) -> jax.Array:
  """[N] one number that orders pairs as the head does.

  Of two logits the difference: it orders pairs as their softmax, and does not
  saturate into ties.
  """
  if logits_NO.shape[-1] == 1:
    return logits_NO[..., 0]
  return logits_NO[..., MATCH] - logits_NO[..., MISMATCH]


@dataclasses.dataclass(frozen=True)
class RetrievalTask:
  """Tells a pair that belongs together from those beside it.

  Args:
    config: the model.
    loss: "match", the two classes of the matching head on every pair by itself
      (InterBERT); "choice", a softmax over an example's pairs on a head of its
      own (ViLBERT); "triplet", a margin between the own pair and each of the
      others, on the matching score through a sigmoid (UNITER).
    margin: of the triplets.
    hardest: texts and images of an example that enter the triplets: those that
      the model scores highest just now, found without gradient; 0 for all.
    feature_encoding: of the batches.
  """

  config: InterBertConfig
  loss: str = "match"
  margin: float = 0.2
  hardest: int = 0
  feature_encoding: str = "float16"

  group_size = 1

  def __post_init__(self):
    if self.loss not in LOSSES:
      raise ConfigError(
        f"task.loss is {self.loss!r}; wanted one of {', '.join(LOSSES)}"
      )
    if self.hardest < 0 or (self.hardest and self.loss != "triplet"):
      raise ConfigError(
        f"task.hardest is {self.hardest} with task.loss={self.loss}; wanted 0, "
        "or task.loss=triplet and at least 1"
      )

  @property
  def batch_spec(self) -> dict[str, ArraySpec]:
    spec = encoded_spec(CANDIDATES, self.feature_encoding)
    return limited(spec, text_ids=self.config.vocab_size)

  @property
  def model(self) -> InterBertForTask:
    return InterBertForTask(self.config, *SCORES[self.loss])

  @property
  def loss_weights(self) -> dict[str, float]:
    return {f"{self.loss}_loss": 1.0}

  def init(self, rng: jax.Array, batch: Mapping[str, jax.Array]):
    first = {key: jnp.asarray(value[:1]) for key, value in batch.items()}
    inputs = self.prepare(first, jax.random.key(0), train=False)
    text, regions = _take(inputs, np.zeros(1, int), np.zeros(1, int))
    return self.model.init(rng, text, regions)["params"]

  def prepare(
    self, batch: Mapping[str, jax.Array], mask_key: jax.Array, *, train: bool
  ) -> CandidateInputs:
    del mask_key, train  # nothing is masked
    flat = {
      key: value.reshape(-1, *value.shape[2:])
      for key, value in batch.items()
      if value.ndim > 1
    }
    return CandidateInputs(
      text=text_input(flat["text_ids"], flat["text_length"]),
      regions=image_input(flat),
      weight=batch["example_weight"],
      num_texts=batch["text_length"].shape[1],
      num_images=batch["num_regions"].shape[1],
    )

  def weights(self, inputs: CandidateInputs) -> dict[str, jax.Array]:
    return {name: jnp.sum(inputs.weight) for name in self.loss_weights}

  def losses(
    self,
    params,
    inputs: CandidateInputs,
    *,
    dropout_key: jax.Array | None = None,
  ):
    text_BP, image_BP = self._pairs(params, inputs)
    logits_BPO = self._logits(params, inputs, text_BP, image_BP, dropout_key)
    scores_BP = pair_score(logits_BPO)
    num_pairs = scores_BP.shape[1]
    first_B = jnp.zeros(len(scores_BP), jnp.int32)
    if self.loss == "choice":
      pair = losses.cross_entropy(scores_BP, first_B, inputs.weight)
    elif self.loss == "match":
      own_P = jnp.arange(num_pairs) == 0
      labels_BP = jnp.broadcast_to(
        jnp.where(own_P, MATCH, MISMATCH), scores_BP.shape
      )
      total, _ = losses.cross_entropy(
        logits_BPO,
        labels_BP,
        jnp.broadcast_to(inputs.weight[:, None], scores_BP.shape),
      )
      pair = total / num_pairs, jnp.sum(inputs.weight)
    else:
      chance_BP = jax.nn.sigmoid(scores_BP)
      short_BP = jnp.maximum(
        self.margin + chance_BP[:, 1:] - chance_BP[:, :1], 0.0
      )
      pair = losses.weighted_sum(short_BP.mean(1), inputs.weight)
    metrics = {
      f"{self.loss}_loss": pair,
      # Of the pairs that the loss saw: the own one is scored highest.
      "accuracy": losses.accuracy(scores_BP, first_B, inputs.weight),
    }
    return {f"{self.loss}_loss": pair[0]}, metrics

  def _pairs(self, params, inputs: CandidateInputs):
    """Text and image [B, P] of each pair, as numbers within the example."""
    T, I = inputs.num_texts, inputs.num_images
    text_P = np.array([*range(T), *[0] * (I - 1)])
    image_P = np.array([*[0] * T, *range(1, I)])
    B = len(inputs.weight)
    text_BP = jnp.broadcast_to(text_P, (B, len(text_P)))
    image_BP = jnp.broadcast_to(image_P, (B, len(image_P)))
    if not self.hardest:
      return text_BP, image_BP
    scores_BP = pair_score(
      self._logits(
        jax.lax.stop_gradient(params), inputs, text_BP, image_BP, None
      )
    )
    columns = [jnp.zeros((B, 1), jnp.int32)]
    for first, last in ((1, T), (T, T + I - 1)):
      count = min(self.hardest, last - first)
      if count:
        _, hard_BK = jax.lax.top_k(scores_BP[:, first:last], count)
        columns.append(first + hard_BK)
    columns_BK = jnp.concatenate(columns, axis=1)
    return (
      jnp.take_along_axis(text_BP, columns_BK, axis=1),
      jnp.take_along_axis(image_BP, columns_BK, axis=1),
    )

  def _logits(self, params, inputs, text_BP, image_BP, dropout_key):
    """[B, P, O] of the given pairs of every example."""
    B, P = text_BP.shape
    row_B1 = jnp.arange(B)[:, None]
    text, regions = _take(
      inputs,
      (row_B1 * inputs.num_texts + text_BP).ravel(),
      (row_B1 * inputs.num_images + image_BP).ravel(),
    )
    logits_NO = self.model.apply(
      {"params": params},
      text,
      regions,
      deterministic=dropout_key is None,
      rngs=None if dropout_key is None else {"dropout": dropout_key},
    )
    return logits_NO.reshape(B, P, -1)


def _take(inputs: CandidateInputs, texts_N, images_N):
  """Texts and regions of some pairs."""
  return (
    jax.tree.map(lambda x: x[texts_N], inputs.text),
    jax.tree.map(lambda x: x[images_N], inputs.regions),
  )
