"""Submissions of KDD Cup 2020's multimodal recall: five products a query.

The checks and the score are those of the official script: the header is
query-id,product1,...,product5; every query has five different ids of digits
alone; lines of unknown queries, the header too, are passed over; of a query
that comes twice the last line counts; a query without relevant products scores
0.
"""

import csv
import io
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from input_pipeline.annotations.kdd_queries import KddQuery
from interbert_jax.contract import json_file
from interbert_jax.contract.errors import DataError
from interbert_jax.ranking.metrics import RankedQuery, ndcg

PLACES = 5
HEADER = ("query-id", *(f"product{k}" for k in range(1, PLACES + 1)))


def write_submission(
  path: str | pathlib.Path,
  lists: Mapping[str, Sequence[str]],
  queries: Sequence[KddQuery],
) -> pathlib.Path:
  """Writes the first five products of each query, once they pass the checks."""
  short = {query_id: tuple(items[:PLACES]) for query_id, items in lists.items()}
  check_submission(short, queries, file=path)
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(HEADER)
  for query in queries:
    writer.writerow((query.query_id, *short[query.query_id]))
  return json_file.write_text(path, text.getvalue())


def check_candidates(queries: Sequence[KddQuery], *, file: object) -> None:
  """Raises DataError where no ranking of these could be handed in."""
  for query in queries:
    first = (query.query_id, query.candidates[:PLACES])
    check_submission(dict([first]), [query], file=file)


def check_submission(
  lists: Mapping[str, Sequence[str]],
  queries: Sequence[KddQuery],
  *,
  file: object,
) -> None:
  """Raises DataError for what the official script would not take."""
  for query in queries:
    items = lists.get(query.query_id)
    record = f"query {query.query_id}"
    if items is None:
      raise DataError("missing", file=file, record=record)
    if len(items) != PLACES:
      raise DataError(
        f"found {len(items)} products, wanted {PLACES}",
        file=file,
        record=record,
        hint=f"it has {len(query.candidates)} candidates",
      )
    strange = [i for i in items if not (i.isascii() and i.isdigit())]
    if strange:
      raise DataError(
        f"found product {strange[0]!r}, wanted ids of digits alone",
        file=file,
        record=record,
      )
    if len(set(items)) < PLACES:
      raise DataError(
        f"found {', '.join(items)}, wanted five different products",
        file=file,
        record=record,
      )


def read_submission(
  path: str | pathlib.Path, queries: Sequence[KddQuery]
) -> dict[str, tuple[str, ...]]:
  """The products of the known queries of a file, checked."""
  known = {query.query_id for query in queries}
  found: dict[str, tuple[str, ...]] = {}
  path = pathlib.Path(path)
  with path.open(encoding="utf-8", newline="") as file:
    for row in csv.reader(file):
      if row and row[0] in known:
        found[row[0]] = tuple(row[1:])
  check_submission(found, queries, file=path)
  return found


def official_ndcg(
  lists: Mapping[str, Sequence[str]], queries: Sequence[KddQuery]
) -> float:
  """Mean NDCG@5 over all queries, 0 for those without relevant products."""
  values = []
  for query in queries:
    right = set(query.answers or ())
    found = np.array([item in right for item in lists[query.query_id][:PLACES]])
    ranked = RankedQuery(found * 1.0, np.ones(len(right)), 0)
    values.append(ndcg(ranked, PLACES) if right else 0.0)
  return float(np.mean(values))
