"""Writes predictions as the servers of GLUE and CLUE take them."""

import json
import pathlib

import numpy as np

from input_pipeline.tasks.text import SentenceData
from interbert_jax.contract.errors import DataError


def write_predictions(
  folder: str | pathlib.Path, data: SentenceData, answers: np.ndarray
) -> pathlib.Path:
  """Writes the answers of a split, in the order of its file.

  GLUE: a TSV of index and prediction; CLUE: a line of JSON of id and label for
  each row. Numbers keep to the task's bounds.

  Args:
    folder: where the file goes, under the name that the server asks for.
    data: the split.
    answers: [N] classes or numbers.
  """
  layout = data.layout
  if len(answers) != data.num_examples:
    raise DataError(
      f"found {len(answers)} predictions, wanted {data.num_examples}",
      file=data.sentences.path,
    )
  name = layout.predictions.get(data.split, f"{data.task}_{data.split}.tsv")
  if layout.is_regression:
    if layout.bounds:
      answers = np.clip(answers, *layout.bounds)
    words = [f"{value:.6g}" for value in answers]
  else:
    words = [layout.labels[value] for value in answers]
  rows = zip(data.sentences.ids, words, strict=True)
  if layout.benchmark == "clue":
    lines = [json.dumps({"id": _number(i), "label": word}) for i, word in rows]
  else:
    lines = ["index\tprediction", *(f"{i}\t{word}" for i, word in rows)]
  path = pathlib.Path(folder) / name
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
  return path


def _number(identifier: str) -> int | str:
  """CLUE's ids are numbers."""
  return int(identifier) if identifier.isdecimal() else identifier
