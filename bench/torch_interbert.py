"""InterBERT as one would write it in PyTorch today, to measure beside ours.

Fused attention, heads on masked rows alone, AdamW in one kernel, batches cut at
their longest text. It has random weights and is only timed.
"""

import dataclasses

import torch
import torch.nn.functional as F
from torch import nn

from interbert_jax.model.config import InterBertConfig


class Layer(nn.Module):
  def __init__(self, width: int, heads: int, mlp_dim: int):
    super().__init__()
    self.heads = heads
    self.qkv = nn.Linear(width, 3 * width)
    self.out = nn.Linear(width, width)
    self.mlp = nn.Sequential(
      nn.Linear(width, mlp_dim), nn.GELU(), nn.Linear(mlp_dim, width)
    )
    self.norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-12) for _ in "ab")

  def forward(self, x, mask):
    batch, slots, width = x.shape
    qkv = self.qkv(x).view(batch, slots, 3, self.heads, -1)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    attended = attended.transpose(1, 2).reshape(batch, slots, width)
    x = self.norms[0](x + self.out(attended))
    return self.norms[1](x + self.mlp(x))


class Transform(nn.Sequential):
  def __init__(self, width: int, outputs: int):
    super().__init__(
      nn.Linear(width, width),
      nn.GELU(),
      nn.LayerNorm(width, eps=1e-12),
      nn.Linear(width, outputs),
    )


class TorchInterBert(nn.Module):
  """The three losses of one batch, which `prepare` made."""

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

    def layers(count, shape):
      return nn.ModuleList(
        Layer(width, shape.num_heads, shape.mlp_dim) for _ in range(count)
      )

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
    text = self.text_norm(text + self.types.weight[0])
    regions = self.region_norm(
      self.feature(batch.features) + self.location(batch.locations)
    )
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
    return (
      F.cross_entropy(words.float(), batch.mlm_labels)
      + F.kl_div(
        classes.float().log_softmax(-1),
        batch.mrm_classes,
        reduction="batchmean",
      )
      + F.cross_entropy(self.match(pooled[0] * pooled[1]), batch.match)
    )


@dataclasses.dataclass
class TorchBatch:
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


def prepare(inputs, *, text_length: int) -> TorchBatch:
  """A batch out of our masked inputs, cut at its longest text."""
  import numpy as np

  def tensor(x):
    return torch.from_numpy(np.array(x))

  region_slots = inputs.regions.mask.shape[1]

  def masked(rows, slots, width, skipped=0):
    """Numbers of the masked slots among rows of `width`."""
    kept = np.asarray(rows.weights_GK) > 0
    groups = np.arange(len(kept))[:, None]
    per_group = len(inputs.itm_labels) // len(kept) * slots
    index = (np.asarray(rows.index_GK) + groups * per_group)[kept]
    return kept, tensor(index // slots * width + index % slots + skipped)

  slots = inputs.text.ids.shape[1]
  kept, mlm_rows = masked(inputs.mlm_rows, slots, text_length)
  mlm_labels = tensor(np.asarray(inputs.mlm_labels)[kept]).long()
  kept, mrm_rows = masked(inputs.mrm_rows, region_slots - 1, region_slots, 1)
  return TorchBatch(
    ids=tensor(inputs.text.ids[:, :text_length]).long(),
    text_mask=tensor(inputs.text.mask[:, :text_length]),
    features=tensor(inputs.regions.features),
    locations=tensor(inputs.regions.locations),
    region_mask=tensor(inputs.regions.mask),
    mlm_rows=mlm_rows,
    mlm_labels=mlm_labels,
    mrm_rows=mrm_rows,
    mrm_classes=tensor(np.float32(np.asarray(inputs.mrm_classes)[kept])),
    match=tensor(inputs.itm_labels).long(),
  )
