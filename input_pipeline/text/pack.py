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
  """Pieces [N] that each text keeps in max_length slots.

  Of two texts the longer one loses its last piece, again and again, the second
  one where they are as long (BERT, run_classifier.py): in the end each keeps
  half of the room, or the shorter one all of its own.
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


def check_room(texts: int, max_length: int) -> None:
  """Refuses lengths that leave no piece of each text."""
  if max_length < 1 + 2 * texts:
    raise DataError(
      f"found {max_length}, wanted at least {1 + 2 * texts}: [CLS], then a "
      f"piece and [SEP] of each of {texts} texts",
      field="max_text_length",
    )


def pack_texts(
  tokenizer: Tokenizer,
  tables: Sequence[TokenTable],
  rows: np.ndarray,
  *,
  max_length: int,
) -> dict[str, np.ndarray]:
  """text_ids and text_types [N, L], text_length [N], all int32."""
  starts = [table.offsets[rows] for table in tables]
  kept = kept_lengths([table.lengths[rows] for table in tables], max_length)
  shape = len(rows), max_length
  ids, types = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
  ids[:, 0] = tokenizer.cls_id
  slots = np.arange(max_length)
  place = np.ones(len(rows), np.int64)  # of the text's first piece
  for kind, (table, start, keep) in enumerate(
    zip(tables, starts, kept, strict=True)
  ):
    piece = slots - place[:, None]
    real = (piece >= 0) & (piece < keep[:, None])
    ids[real] = table.ids[(start[:, None] + piece)[real]]
    ids[np.arange(len(rows)), place + keep] = tokenizer.sep_id
    types[(piece >= 0) & (piece <= keep[:, None])] = kind
    place = place + keep + 1
  return {
    "text_ids": ids,
    "text_types": types,
    "text_length": place.astype(np.int32),
  }
