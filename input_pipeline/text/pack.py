"""One or two texts in a row of slots: [CLS] a [SEP] or [CLS] a [SEP] b [SEP].

Dimensions: N rows, L text slots.
"""

from collections.abc import Sequence

import numpy as np

from input_pipeline.text.tokenizer import Tokenizer, TokenTable
from interbert_jax.contract.errors import DataError


def kept_lengths(
  lengths: Sequence[np.ndarray], max_length: int
) -> list[np.ndarray]:
  """The number of pieces [N] that each text keeps in max_length slots.

  Of two texts the longer one loses its last piece until both fit; if they are
  equally long the second one does (BERT, run_classifier.py). In the end each
  keeps half of the room, or the shorter one is whole.
  """
  room = max_length - 1 - len(lengths)
  if len(lengths) == 1:
    return [np.minimum(lengths[0], room)]
  first, second = lengths
  half = room // 2
  return [
    np.minimum(first, np.maximum(room - half, room - second)),
    np.minimum(second, np.maximum(half, room - first)),
  ]


def num_truncated(lengths: Sequence[np.ndarray], max_length: int) -> int:
  """How many rows lose pieces."""
  kept = kept_lengths(lengths, max_length)
  return int((np.sum(kept, 0) < np.sum(lengths, 0)).sum())


def check_room(texts: int, max_length: int) -> None:
  """Refuses lengths that have no room for a piece of each text."""
  if max_length < 1 + 2 * texts:
    raise DataError(
      f"input.max_text_length is {max_length}, wanted at least "
      f"{1 + 2 * texts}: [CLS], then a piece and [SEP] of each of {texts} texts"
    )


def pack_texts(
  tokenizer: Tokenizer,
  tables: Sequence[TokenTable],
  rows: Sequence[np.ndarray],
  *,
  max_length: int,
  slots: int | None = None,
) -> dict[str, np.ndarray]:
  """Cuts and pads the texts of each row.

  Args:
    tokenizer: knows the special tokens.
    tables: pieces of the first texts; for pairs, of the second texts too.
    rows: [N] for each table: the number of the text in each row.
    max_length: slots that a row may fill.
    slots: L; max_length by default.

  Returns:
    text_ids and text_types [N, L], text_length [N], and second_start [N], where
    the last text begins; all int32.
  """
  starts = [t.offsets[r] for t, r in zip(tables, rows, strict=True)]
  kept = kept_lengths(
    [t.lengths[r] for t, r in zip(tables, rows, strict=True)], max_length
  )
  count, slots = len(rows[0]), slots or max_length
  ids = np.zeros((count, slots), np.int32)
  types = np.zeros((count, slots), np.int32)
  ids[:, 0] = tokenizer.cls_id
  place = start_of_text = np.ones(count, np.int64)
  for kind, (table, start, keep) in enumerate(
    zip(tables, starts, kept, strict=True)
  ):
    start_of_text = place
    piece = np.arange(slots) - place[:, None]
    real = (piece >= 0) & (piece < keep[:, None])
    ids[real] = table.ids[(start[:, None] + piece)[real]]
    ids[np.arange(count), place + keep] = tokenizer.sep_id
    types[(piece >= 0) & (piece <= keep[:, None])] = kind
    place = place + keep + 1
  return {
    "text_ids": ids,
    "text_types": types,
    "text_length": place.astype(np.int32),
    "second_start": start_of_text.astype(np.int32),
  }


def join_texts(
  tokenizer: Tokenizer,
  first: TokenTable,
  second: TokenTable,
  rows: np.ndarray,
) -> TokenTable:
  """Joins text n of the first table, [SEP] and text rows[n] of the second."""
  sep = np.array([tokenizer.sep_id], np.int32)
  parts = [
    part
    for n, row in enumerate(rows)
    for part in (first.text(n), sep, second.text(row))
  ]
  lengths = first.lengths + 1 + second.lengths[rows]
  return TokenTable(
    np.concatenate(parts), np.concatenate([[0], np.cumsum(lengths)])
  )
