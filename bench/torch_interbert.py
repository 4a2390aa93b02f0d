"""InterBERT as one would write it in PyTorch today, to measure beside ours.

Fused attention, heads on masked rows alone, AdamW in one kernel. A batch is cut
at its longest text, or goes through the model in chunks of similar length, each
cut at its own. It has random weights and is only timed.
"""

import dataclasses

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from interbert_jax.model.config import InterBertConfig, LayerShape


class Layer(nn.Module):
  def __init__(self, shape: LayerShape):
    super().__init__()
    width = shape.hidden_size
    self.heads = shape.num_heads
    self.attention_dropout = shape.attention_dropout
    self.dropout = nn.Dropout(shape.hidden_dropout)
    self.qkv = nn.Linear(width, 3 * width)
    self.out = nn.Linear(width, width)
    self.mlp = nn.Sequential(
      nn.Linear(width, shape.mlp_dim),
      nn.GELU(),
      nn.Linear(shape.mlp_dim, width),
    )
    self.norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-12) for _ in "ab")

  def forward(self, x, mask):
    batch, slots, width = x.shape
    qkv = self.qkv(x).view(batch, slots, 3, self.heads, -1)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    attended = F.scaled_dot_product_attention(
      q, k, v, attn_mask=mask, dropout_p=self.attention_dropout
    )
    attended = attended.transpose(1, 2).reshape(batch, slots, width)
    x = self.norms[0](x + self.dropout(self.out(attended)))
    return self.norms[1](x + self.dropout(self.mlp(x)))


class Transform(nn.Sequential):
  def __init__(self, width: int, outputs: int):
    super().__init__(
      nn.Linear(width, width),
      nn.GELU(),
      nn.LayerNorm(width, eps=1e-12),
      nn.Linear(width, outputs),
    )


class TorchInterBert(nn.Module):
  """The three losses of one chunk, which `prepare` made."""

  def __init__(self, c: InterBertConfig):
    super().__init__()
    width = c.hidden_size
    self.words = nn.Embedding(c.vocab_size, width)
    self.positions = nn.Embedding(c.max_position_embeddings, width)
    self.types = nn.Embedding(c.type_vocab_size, width)
    self.feature = nn.Linear(c.region_feature_dim, width)
    self.location = nn.Linear(5, width)
    self.text_norm, self.region_norm = (
      nn.LayerNorm(width, eps=1e-12) for _ in "ab"
    )

    self.dropout = nn.Dropout(c.hidden_dropout)
    self.pooled_dropout = nn.Dropout(c.pooled_dropout)

    def layers(count, shape):
      return nn.ModuleList(Layer(shape) for _ in range(count))

    self.interaction = layers(c.num_interaction_layers, c.text_layer)
    self.text = layers(c.num_text_layers, c.text_layer)
    self.regions = layers(c.num_region_layers, c.region_layer)
    self.poolers = nn.ModuleList(nn.Linear(width, c.pooler_dim) for _ in "ab")
    self.match = nn.Linear(c.pooler_dim, 2)
    self.mlm = Transform(width, c.vocab_size)
    self.mlm[-1].weight = self.words.weight
    self.mrm = Transform(width, c.num_region_classes)

  def forward(self, batch: "TorchBatch"):
    length = batch.ids.shape[1]
    text = self.words(batch.ids) + self.positions.weight[:length]
    text = self.dropout(self.text_norm(text + self.types.weight[0]))
    regions = self.feature(batch.features) + self.location(batch.locations)
    regions = self.dropout(self.region_norm(regions))
    x = torch.cat([regions, text], 1)
    mask = torch.cat([batch.region_mask, batch.text_mask], 1)[:, None, None]
    for layer in self.interaction:
      x = layer(x, mask)
    regions, text = x.split([regions.shape[1], length], 1)
    for layer in self.text:
      text = layer(text, batch.text_mask[:, None, None])
    for layer in self.regions:
      regions = layer(regions, batch.region_mask[:, None, None])
    pooled = [
      F.relu(pooler(x[:, 0]))
      for pooler, x in zip(self.poolers, (text, regions), strict=True)
    ]
    words = self.mlm(text.flatten(0, 1)[batch.mlm_rows])
    classes = self.mrm(regions.flatten(0, 1)[batch.mrm_rows])
    match = self.match(self.pooled_dropout(pooled[0] * pooled[1]))
    mlm_weight, mrm_weight, match_weight = batch.weights
    return (
      mlm_weight * F.cross_entropy(words.float(), batch.mlm_labels)
      + mrm_weight
      * F.kl_div(
        classes.float().log_softmax(-1),
        batch.mrm_classes,
        reduction="batchmean",
      )
      + match_weight * F.cross_entropy(match.float(), batch.match)
    )


@dataclasses.dataclass
class TorchBatch:
  """Arrays of a chunk, and its share of the batch in each loss."""

  ids: torch.Tensor
  text_mask: torch.Tensor
  features: torch.Tensor
  locations: torch.Tensor
  region_mask: torch.Tensor
  mlm_rows: torch.Tensor
  mlm_labels: torch.Tensor
  mrm_rows: torch.Tensor
  mrm_classes: torch.Tensor
  match: torch.Tensor
  weights: tuple[float, float, float]


def prepare(inputs, *, chunks: int, device: str) -> list[TorchBatch]:
  """The chunks of a batch, out of our masked inputs."""
  lengths = np.asarray(inputs.text.mask).sum(axis=1)
  ids, text_mask = map(np.asarray, (inputs.text.ids, inputs.text.mask))
  slots, region_slots = ids.shape[1], inputs.regions.mask.shape[1]

  def masked(rows, slots):
    """Numbers of the masked slots in the batch, and which rows they are."""
    kept = np.asarray(rows.weights_GK) > 0
    groups = np.arange(len(kept))[:, None]
    per_group = len(lengths) // len(kept) * slots
    return (np.asarray(rows.index_GK) + groups * per_group)[kept], kept

  mlm_index, mlm_kept = masked(inputs.mlm_rows, slots)
  mrm_index, mrm_kept = masked(inputs.mrm_rows, region_slots - 1)
  mlm_labels = np.asarray(inputs.mlm_labels)[mlm_kept]
  mrm_classes = np.asarray(inputs.mrm_classes)[mrm_kept]

  def tensor(x, dtype=None):
    return torch.from_numpy(np.array(x, dtype)).to(device)

  def chunk(examples):
    # Tensor cores like multiples of 8.
    length = int(lengths[examples].max())
    length = min(slots, -(-length // 8) * 8) if device == "cuda" else length
    place = np.full(len(lengths), -1)
    place[examples] = np.arange(len(examples))

    def of_chunk(index, slots, width, skipped=0):
      here = place[index // slots] >= 0
      rows = place[index // slots] * width + index % slots + skipped
      return here, tensor(rows[here])

    words, mlm_rows = of_chunk(mlm_index, slots, length)
    regions, mrm_rows = of_chunk(
      mrm_index, region_slots - 1, region_slots, skipped=1
    )
    return TorchBatch(
      ids=tensor(ids[examples, :length], np.int64),
      text_mask=tensor(text_mask[examples, :length], bool),
      features=tensor(
        inputs.regions.features[examples],
        np.float16 if device == "cuda" else np.float32,
      ),
      locations=tensor(inputs.regions.locations[examples], np.float32),
      region_mask=tensor(inputs.regions.mask[examples], bool),
      mlm_rows=mlm_rows,
      mlm_labels=tensor(mlm_labels[words], np.int64),
      mrm_rows=mrm_rows,
      mrm_classes=tensor(mrm_classes[regions], np.float32),
      match=tensor(inputs.itm_labels[examples], np.int64),
      weights=(
        words.mean(),
        regions.mean(),
        len(examples) / len(lengths),
      ),
    )

  by_length = np.argsort(lengths, kind="stable")
  return [chunk(examples) for examples in np.array_split(by_length, chunks)]
