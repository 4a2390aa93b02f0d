"""Masking of tokens and regions, on the device.

Every rule is a function of one example and its key, mapped over the batch
with `jax.vmap`: what is masked in an example does not depend on the batch it
sits in, nor on the number of devices. The rules are explained in settings.py.

Dimensions: L text slots, R region slots (without the global region), V words.
"""

import jax
import jax.numpy as jnp

from interbert_jax.tasks.settings import RegionMasking, TextMasking


def example_keys(key: jax.Array, position_B: jax.Array) -> jax.Array:
  """One key per example, from its place in the run's example order."""
  return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, position_B)


def hides_words(keys_B: jax.Array) -> jax.Array:
  """[B] bool: a fair coin for masking a pair's words, or else its regions.

  The masks use the two keys that each of these is split into, which JAX makes
  by folding in 0 and 1; so the coin folds in 2.
  """
  return jax.vmap(lambda key: jax.random.bernoulli(jax.random.fold_in(key, 2)))(
    keys_B
  )


def _chosen_span(key: jax.Array, length: int, num_pieces: jax.Array):
  start_key, length_key = jax.random.split(key)
  start = jax.random.randint(start_key, (), 0, num_pieces + 1)
  span = jax.random.randint(length_key, (), 1, jnp.maximum(num_pieces, 1) + 1)
  piece_L = jnp.arange(length) - 1  # slot 0 is [CLS]
  inside_L = (piece_L >= start) & (piece_L < start + span)
  return inside_L & (num_pieces > 3)


def _chosen_segments(key: jax.Array, length: int, rules: TextMasking):
  anchor_key, length_key = jax.random.split(key)
  anchor_L = jax.random.bernoulli(anchor_key, rules.rate, (length,))
  # [CLS] is no word: a segment that started there would run into the caption.
  anchor_L = anchor_L & (jnp.arange(length) > 0)
  probs = jnp.array(rules.segment_length_probs)
  size_L = 1 + jax.random.choice(length_key, len(probs), (length,), p=probs)
  offset_LL = jnp.arange(length)[None, :] - jnp.arange(length)[:, None]
  reached_LL = (offset_LL >= 0) & (offset_LL < size_L[:, None])
  return jnp.any(reached_LL & anchor_L[:, None], axis=0)


def choose_tokens(
  key: jax.Array,
  length: int,
  text_length: jax.Array,
  rules: TextMasking,
  *,
  word_start_L: jax.Array | None = None,
) -> jax.Array:
  """[L] bool; never [CLS], [SEP] or padding."""
  slot_L = jnp.arange(length)
  maskable_L = (slot_L > 0) & (slot_L < text_length - 1)
  if not rules.whole_word:
    return _chosen_units(key, length, text_length - 2, rules) & maskable_L
  # Chosen as in a text whose words are single tokens: word 1 is in slot 1.
  word_L = jnp.cumsum(word_start_L & maskable_L)
  chosen_L = _chosen_units(key, length, word_L[-1], rules)
  return chosen_L[word_L] & maskable_L


def _chosen_units(key: jax.Array, length: int, units: jax.Array, rules):
  """[L] bool: word pieces or words, the first of them in slot 1."""
  if rules.rule == "token":
    return jax.random.bernoulli(key, rules.rate, (length,))
  if rules.rule == "span":
    return _chosen_span(key, length, units)
  return _chosen_segments(key, length, rules)


def mask_tokens(
  key: jax.Array,
  text_ids_L: jax.Array,
  text_length: jax.Array,
  *,
  vocab_size: int,
  mask_id: int,
  rules: TextMasking,
  word_start_L: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
  """Masks one caption; `word_start_L` is needed for whole words.

  Returns:
    ids [L] with the chosen tokens replaced, and weights [L] float32, 1 where
    a token was chosen. The labels are `text_ids_L`.
  """
  choose_key, kind_key, word_key = jax.random.split(key, 3)
  shape = text_ids_L.shape
  chosen_L = choose_tokens(
    choose_key, shape[0], text_length, rules, word_start_L=word_start_L
  )
  kind_L = jax.random.uniform(kind_key, shape)
  # Uniform over the whole vocabulary, special tokens included, as officially.
  word_L = jax.random.randint(word_key, shape, 0, vocab_size, text_ids_L.dtype)
  new_L = jnp.where(
    kind_L < rules.mask_prob,
    mask_id,
    jnp.where(kind_L < rules.mask_prob + rules.random_prob, word_L, text_ids_L),
  )
  masked_L = jnp.where(chosen_L, new_L, text_ids_L).astype(text_ids_L.dtype)
  return masked_L, chosen_L.astype(jnp.float32)


def pairwise_iou(boxes_R4: jax.Array) -> jax.Array:
  """[R, R] intersection over union with the pixel-inclusive +1.

  The official code computes it on boxes divided by the image size, with 1/W
  and 1/H in place of 1, which is the same number.
  """
  x1, y1, x2, y2 = jnp.moveaxis(boxes_R4.astype(jnp.float32), -1, 0)
  area_R = (x2 - x1 + 1) * (y2 - y1 + 1)
  width_RR = jnp.minimum(x2[:, None], x2) - jnp.maximum(x1[:, None], x1) + 1
  height_RR = jnp.minimum(y2[:, None], y2) - jnp.maximum(y1[:, None], y1) + 1
  inter_RR = jnp.maximum(width_RR, 0) * jnp.maximum(height_RR, 0)
  # Padded slots must not divide by zero; real boxes have at least one pixel.
  return inter_RR / jnp.maximum(area_R[:, None] + area_R - inter_RR, 1e-6)


def iou_groups(
  anchors_R: jax.Array, boxes_R4: jax.Array, num_regions: jax.Array, min_iou
) -> jax.Array:
  """[R] bool: regions that overlap an anchor, the anchors included."""
  real_R = jnp.arange(len(anchors_R)) < num_regions
  close_RR = pairwise_iou(boxes_R4) >= min_iou
  close_RR = close_RR & real_R[:, None] & real_R[None, :]
  return jnp.any(close_RR & anchors_R[:, None], axis=0) | (anchors_R & real_R)


def mask_regions(
  key: jax.Array,
  boxes_R4: jax.Array,
  num_regions: jax.Array,
  *,
  rules: RegionMasking,
) -> tuple[jax.Array, jax.Array]:
  """Masks the regions of one image.

  Returns:
    zeroed [R] bool, the regions whose feature is to be zeroed, and weights
    [R] float32, 1 where the region is to be predicted.
  """
  choose_key, zero_key = jax.random.split(key)
  slots = boxes_R4.shape[0]
  chosen_R = jax.random.bernoulli(choose_key, rules.rate, (slots,))
  if rules.rule == "iou_group":
    chosen_R = iou_groups(chosen_R, boxes_R4, num_regions, rules.min_iou)
  chosen_R = chosen_R & (jnp.arange(slots) < num_regions)
  zeroed_R = chosen_R & jax.random.bernoulli(
    zero_key, rules.zero_prob, (slots,)
  )
  return zeroed_R, chosen_R.astype(jnp.float32)
