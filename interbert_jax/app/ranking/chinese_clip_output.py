"""The files of Chinese-CLIP's scorer: predictions, and what it writes.

A prediction has exactly 10 different ids; {"text_id", "image_ids"} from text to
image, {"image_id", "text_ids"} the other way. The scorer counts a hit where any
right one is among the first 1, 5, 10, in percent, and wants ids that are whole
numbers.
"""

import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from interbert_jax.contract import json_file
from interbert_jax.contract.errors import DataError

PLACES = 10
KEYS = {
  "text_to_image": ("text_id", "image_ids"),
  "image_to_text": ("image_id", "text_ids"),
}
Id = int | str


def plain_id(found: Id) -> Id:
  """A whole number where it is one; the scorer refuses the others."""
  text = str(found)
  number = text.isascii() and text.isdigit() and str(int(text)) == text
  return int(text) if number else found


def write_predictions(
  path: str | pathlib.Path,
  direction: str,
  predictions: Mapping[Id, Sequence[Id]],
) -> pathlib.Path:
  """Writes a line per query; refuses lists the scorer would not take.

  Raises:
    DataError: not 10, or not different.
  """
  query_key, list_key = KEYS[direction]
  for query, found in predictions.items():
    if len(found) != PLACES or len(set(found)) != PLACES:
      raise DataError(
        f"found {len(set(found))} different ids, wanted {PLACES}",
        file=path,
        record=f"{query_key} {query}",
        hint="the pool is too small",
      )
  return json_file.write_lines(
    path,
    [
      {query_key: plain_id(query), list_key: [plain_id(i) for i in found]}
      for query, found in predictions.items()
    ],
  )


def all_numbers(predictions: Mapping[Id, Sequence[Id]]) -> bool:
  """Whether the scorer would take the ids."""
  return all(
    isinstance(plain_id(i), int)
    for query, found in predictions.items()
    for i in (query, *found)
  )


def scorer_output(
  predictions: Mapping[Id, Sequence[Id]], right: Mapping[Id, Collection[Id]]
) -> dict[str, Any]:
  """output.json of the scorer: percentages over the queries of `right`."""
  recalls = [
    100.0
    * float(
      np.mean(
        [bool({*predictions[q][:k]} & {*ids}) for q, ids in right.items()]
      )
    )
    for k in (1, 5, 10)
  ]
  mean = sum(recalls) / len(recalls)
  return {
    "success": True,
    "score": mean,
    "scoreJson": {
      "score": mean,
      "mean_recall": mean,
      "r1": recalls[0],
      "r5": recalls[1],
      "r10": recalls[2],
    },
  }
