"""The file of VCR's leaderboard: for each question 4 answers and 16 rationales.

A row is a question: its annotation id, a score of each answer, and for each
answer a score of each rationale. Only the order within four scores counts.

Dimensions: N questions.
"""

import csv
import io
import math
import pathlib
import re
from collections.abc import Sequence

import numpy as np

from interbert_jax.contract.errors import ConfigError
from interbert_jax.contract.files import write_text
from interbert_jax.evaluation.vcr import probabilities

GROUPS = ("answer", *(f"rationale_conditioned_on_a{i}" for i in range(4)))
HEADER = ("annot_id", *(f"{group}_{i}" for group in GROUPS for i in range(4)))
_ID = re.compile(r"(train|val|test)-(0|[1-9]\d*)")


def write_leaderboard(
  path: str | pathlib.Path,
  annotation_ids: Sequence[str],
  scores_N54: np.ndarray,
) -> pathlib.Path:
  """Writes probabilities, ordered by the number of the id.

  Raises:
    ConfigError: an id comes twice or is none of VCR's, or a score is not
      finite.
  """
  if scores_N54.shape != (len(annotation_ids), len(GROUPS), 4):
    raise ConfigError(
      f"{path}: found scores of shape {scores_N54.shape} for "
      f"{len(annotation_ids)} questions, wanted [N, {len(GROUPS)}, 4]"
    )
  rows = probabilities(scores_N54).reshape(len(annotation_ids), -1)
  lines = io.StringIO()
  writer = csv.writer(lines, lineterminator="\n")
  writer.writerow(HEADER)
  order = sorted(
    range(len(annotation_ids)),
    key=lambda i: _number(annotation_ids[i], place=str(path)),
  )
  for i in order:
    writer.writerow([annotation_ids[i], *map(repr, rows[i].tolist())])
  parse_leaderboard(lines.getvalue(), path, annotation_ids)
  return write_text(path, lines.getvalue())


def parse_leaderboard(
  text: str, path: object, annotation_ids: Sequence[str]
) -> tuple[list[str], np.ndarray]:
  """Ids in the order of a file, and scores [N, 5, 4], all checked.

  Args:
    text: the content of the file.
    path: its name, for messages.
    annotation_ids: those that must be there, each once.

  Raises:
    ConfigError: the header is another, a row has not 20 finite numbers, or an
      id is missing, surplus, double or out of order.
  """
  try:
    rows = list(csv.reader(io.StringIO(text)))
  except csv.Error as error:
    raise ConfigError(f"{path}: not CSV: {error}") from None
  if not rows or tuple(rows[0]) != HEADER:
    header = rows[0] if rows else []
    wrong = next(
      (i for i, name in enumerate(HEADER) if header[i : i + 1] != [name]),
      len(HEADER),
    )
    shown = repr(header[wrong]) if wrong < len(header) else "its end"
    wanted = repr(HEADER[wrong]) if wrong < len(HEADER) else "its end"
    raise ConfigError(
      f"{path}:1: column {wrong + 1} of the header: found {shown}, wanted "
      f"{wanted}; the header has {len(HEADER)} columns"
    )
  ids: list[str] = []
  scores = np.empty((len(rows) - 1, len(HEADER) - 1))
  seen: dict[str, int] = {}
  for number, row in enumerate(rows[1:]):
    place = f"{path}:{number + 2}"
    if len(row) != len(HEADER):
      raise ConfigError(
        f"{place}: found {len(row)} columns, wanted {len(HEADER)}"
      )
    key = _number(row[0], place=place)
    if seen.setdefault(row[0], number) != number:
      raise ConfigError(
        f"{place}: annot_id {row[0]!r} stands on line {seen[row[0]] + 2} "
        "already; wanted one row for each question"
      )
    if ids and key < _number(ids[-1], place=place):
      raise ConfigError(
        f"{place}: annot_id {row[0]!r} after {ids[-1]!r}, wanted ascending"
      )
    ids.append(row[0])
    for column, value in enumerate(row[1:]):
      scores[number, column] = _score(
        value, place=f"{place}: {HEADER[column + 1]}"
      )
  missing = sorted(set(annotation_ids) - set(ids))
  surplus = sorted(set(ids) - set(annotation_ids))
  if missing or surplus:
    raise ConfigError(
      f"{path}: {len(missing)} questions missing"
      + (f", such as {missing[0]!r}" if missing else "")
      + f"; {len(surplus)} that are not asked"
      + (f", such as {surplus[0]!r}" if surplus else "")
    )
  return ids, scores.reshape(-1, len(GROUPS), 4)


def _number(annotation_id: str, *, place: str) -> tuple[str, int]:
  match = _ID.fullmatch(annotation_id)
  if not match:
    raise ConfigError(
      f"{place}: annot_id {annotation_id!r}, wanted such as 'test-0'"
    )
  return match[1], int(match[2])


def _score(value: str, *, place: str) -> float:
  try:
    score = float(value)
  except ValueError:
    score = math.nan
  if not math.isfinite(score):
    raise ConfigError(f"{place}: found {value!r:.40}, wanted a finite number")
  return score
