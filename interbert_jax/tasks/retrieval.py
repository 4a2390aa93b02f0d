"""Fine-tuning for retrieval: a caption's own image among other pairs.

Dimensions: B examples, T texts and I images of an example (its own first), P
pairs of an example: its image with every text, then its text with every other
image. O outputs of the head.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from interbert_jax.contract.batch import CANDIDATES
from interbert_jax.contract.batch_sizes import repeated
from interbert_jax.model.heads import MATCH, MISMATCH, pair_score
from interbert_jax.model.inputs import RegionInput, TextInput
from interbert_jax.model.interbert import InterBert
from interbert_jax.tasks import losses
from interbert_jax.tasks.contrastive import contrast, image_keys
from interbert_jax.tasks.finetuning import FineTuningTask, TaskInputs
from interbert_jax.tasks.settings import SCORES, RetrievalSettings

Pairs = tuple[jax.Array, jax.Array]


@dataclasses.dataclass(frozen=True)
class RetrievalTask(FineTuningTask):
  """Tells a pair that belongs together from those beside it.

  The losses: "match", the two classes of the matching head on every pair by
  itself (InterBERT); "choice", a softmax over an example's pairs on a head of
  its own (ViLBERT); "triplet", a margin between the own pair and each of the
  others, on the matching score through a sigmoid (UNITER). Of the triplets
  only those may count that the model scores highest just now.
  """

  settings: RetrievalSettings = RetrievalSettings()

  layout = CANDIDATES

  @property
  def loss_name(self) -> str:
    return f"{self.settings.loss}_loss"

  @property
  def heads(self) -> dict[str, int]:
    return {**SCORES[self.settings.loss], **self.settings.vector_heads}

  @property
  def loss_weights(self) -> dict[str, float]:
    weights = {self.loss_name: 1.0, "itc_loss": self.settings.itc_weight}
    return {name: weight for name, weight in weights.items() if weight}

  def weights(self, inputs: TaskInputs) -> dict[str, jax.Array]:
    return dict.fromkeys(self.loss_weights, jnp.sum(inputs.weight))

  def forward(
    self,
    model: InterBert,
    inputs: TaskInputs,
    *,
    deterministic: bool,
    pairs: Pairs | None = None,
  ) -> dict[str, jax.Array]:
    """[B, P, O] of texts [B * T] and regions [B * I], by the head's name.

    Args:
      pairs: text and image [B, P], as numbers within the example; all of them
        by default.
    """
    text_BP, image_BP = pairs or _all_pairs(inputs)
    B = len(text_BP)

    def rows(array, index_BP):
      per_example = len(array) // B
      return array[(jnp.arange(B)[:, None] * per_example + index_BP).ravel()]

    texts = jax.tree.map(lambda x: rows(x, text_BP), inputs.text)
    parts = repeated(
      inputs.text.parts, text_BP.shape[1], of=len(inputs.text.ids) // B
    )
    outputs = model(
      texts.replace(parts=parts),
      jax.tree.map(lambda x: rows(x, image_BP), inputs.regions),
      deterministic=deterministic,
    )
    return {
      name: logits_NO.reshape(*text_BP.shape, -1)
      for name, logits_NO in outputs.items()
    }

  def logits(self, params, inputs: TaskInputs, *, dropout_key=None):
    pairs = _all_pairs(inputs)
    if self.settings.hardest:
      # Which pairs are hard is found without dropout and without gradient.
      outputs = super().logits(
        jax.lax.stop_gradient(params), inputs, pairs=pairs
      )
      pairs = self._hardest(pair_score(outputs), pairs, inputs)
    return super().logits(params, inputs, dropout_key=dropout_key, pairs=pairs)

  def metrics(
    self, outputs: Mapping[str, jax.Array], inputs: TaskInputs
  ) -> dict[str, losses.SumWeight]:
    scores_BP = pair_score(outputs)
    num_pairs = scores_BP.shape[1]
    own_B = jnp.zeros(len(scores_BP), jnp.int32)  # the own pair is the first
    if self.settings.loss == "choice":
      loss = losses.cross_entropy(scores_BP, own_B, inputs.weight)
    elif self.settings.loss == "match":
      label_P = jnp.where(jnp.arange(num_pairs) == 0, MATCH, MISMATCH)
      total, _ = losses.cross_entropy(
        outputs["match_head"],
        jnp.broadcast_to(label_P, scores_BP.shape),
        jnp.broadcast_to(inputs.weight[:, None], scores_BP.shape),
      )
      loss = total / num_pairs, jnp.sum(inputs.weight)
    else:
      chance_BP = jax.nn.sigmoid(scores_BP)
      short_BP = jnp.maximum(
        self.settings.margin + chance_BP[:, 1:] - chance_BP[:, :1], 0.0
      )
      loss = losses.weighted_sum(short_BP.mean(1), inputs.weight)
    return {
      self.loss_name: loss,
      # Of the pairs that the loss saw: the own one is scored highest.
      "accuracy": losses.accuracy(scores_BP, own_B, inputs.weight),
    }

  def losses(
    self,
    params,
    inputs: TaskInputs,
    *,
    dropout_key: jax.Array | None = None,
    axis_name: str | None = None,
  ) -> tuple[dict[str, jax.Array], dict[str, losses.SumWeight]]:
    _, metrics = super().losses(params, inputs, dropout_key=dropout_key)
    if self.settings.itc_weight:
      text, regions = self._own(inputs)
      vectors = self.model.apply(
        {"params": params},
        text,
        regions,
        method="vectors",
        deterministic=dropout_key is None,
        rngs=None if dropout_key is None else {"dropout": dropout_key},
      )
      metrics |= contrast(
        *vectors,
        key_B=image_keys(regions),
        weight_B=inputs.weight,
        axis_name=axis_name,
      )
    return {name: metrics[name][0] for name in self.loss_weights}, metrics

  def _own(self, inputs: TaskInputs) -> tuple[TextInput, RegionInput]:
    """Each example's own text and image, the first ones."""
    B = len(inputs.weight)

    def first(tree):
      return jax.tree.map(lambda x: x[:: len(x) // B], tree)

    parts = repeated(inputs.text.parts, 1, of=len(inputs.text.ids) // B)
    return first(inputs.text).replace(parts=parts), first(inputs.regions)

  def _hardest(
    self, scores_BP: jax.Array, pairs: Pairs, inputs: TaskInputs
  ) -> Pairs:
    """The own pair, and those of other texts and images that score highest."""
    B, num_pairs = scores_BP.shape
    T = len(inputs.text.ids) // B
    columns = [jnp.zeros((B, 1), jnp.int32)]
    for first, last in ((1, T), (T, num_pairs)):
      count = min(self.settings.hardest, last - first)
      if count:
        _, hard_BK = jax.lax.top_k(scores_BP[:, first:last], count)
        columns.append(first + hard_BK)
    columns_BK = jnp.concatenate(columns, axis=1)
    text_BP, image_BP = pairs
    return (
      jnp.take_along_axis(text_BP, columns_BK, axis=1),
      jnp.take_along_axis(image_BP, columns_BK, axis=1),
    )


def _all_pairs(inputs: TaskInputs) -> Pairs:
  B = len(inputs.weight)
  T, I = len(inputs.text.ids) // B, len(inputs.regions.mask) // B
  text_P = np.array([*range(T), *[0] * (I - 1)])
  image_P = np.array([*[0] * T, *range(1, I)])
  return (
    jnp.broadcast_to(text_P, (B, len(text_P))),
    jnp.broadcast_to(image_P, (B, len(image_P))),
  )
