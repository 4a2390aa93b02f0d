"""Two texts in one sequence: [CLS] first [SEP] second [SEP].

Dimensions: N pairs, L text slots.
"""

from collections.abc import Sequence

import numpy as np

from input_pipeline.text.tokenizer import Tokenizer
from interbert_jax.contract.errors import DataError

_SPECIAL = 3  # [CLS] and two [SEP]


def check_pair_length(max_length: int, *, field: str):
  """Refuses lengths that leave no room for two pieces."""
  if max_length < _SPECIAL + 2:
    raise DataError(
      f"found {max_length}, wanted at least {_SPECIAL + 2}: [CLS], a piece, "
      "[SEP], a piece, [SEP]",
      field=field,
    )


def kept_lengths(
  first_N: np.ndarray, second_N: np.ndarray, max_length_N: np.ndarray | int
) -> tuple[np.ndarray, np.ndarray]:
  """How many pieces of either text stay, [N] each.

  The longer one loses its last piece until both fit; of equal ones the second.
  """
  room_N = np.asarray(max_length_N) - _SPECIAL
  return (
    np.minimum(first_N, np.maximum(room_N - second_N, (room_N + 1) // 2)),
    np.minimum(second_N, np.maximum(room_N - first_N, room_N // 2)),
  )


def pack_pairs(
  pairs: Sequence[tuple[np.ndarray, np.ndarray]],
  *,
  tokenizer: Tokenizer,
  max_length_N: np.ndarray,
  slots: int,
) -> dict[str, np.ndarray]:
  """Cuts and pads pairs; each by itself, whatever stands beside it.

  Args:
    pairs: pieces of the first and the second text.
    tokenizer: has the special tokens.
    max_length_N: of each sequence, special tokens included; at most L.
    slots: L.

  Returns:
    text_ids [N, L], text_length [N] and second_start [N], int32.
  """
  ids_NL = np.zeros((len(pairs), slots), np.int32)
  lengths = np.array([[len(a), len(b)] for a, b in pairs])
  first_N, second_N = kept_lengths(lengths[:, 0], lengths[:, 1], max_length_N)
  start_N = first_N + 2
  ids_NL[:, 0] = tokenizer.cls_id
  for ids, (a, b), i, j in zip(ids_NL, pairs, first_N, second_N, strict=True):
    ids[1 : i + 1] = a[:i]
    ids[i + 1] = tokenizer.sep_id
    ids[i + 2 : i + j + 2] = b[:j]
    ids[i + j + 2] = tokenizer.sep_id
  return {
    "text_ids": ids_NL,
    "text_length": (start_N + second_N + 1).astype(np.int32),
    "second_start": start_N.astype(np.int32),
  }
