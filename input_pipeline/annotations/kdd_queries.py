"""Queries of KDD Cup 2020: its TSV, and valid_answer.json.

Read as captions, the queries of a product are the captions of its image.
"""

import json
import pathlib
from collections.abc import Iterator
from dataclasses import dataclass

from input_pipeline.annotations.annotation_file import AnnotationFile
from input_pipeline.annotations.reader import ImageCaptions, Reader
from interbert_jax.contract.errors import DataError

_COLUMNS = ("product_id", "query", "query_id")


@dataclass(frozen=True)
class KddQuery:
  """A query with the products to rank for it.

  `answers` are the right products; None where the file of answers lacks the
  query, or there is none.
  """

  query_id: str
  query: str
  candidates: tuple[str, ...]
  answers: tuple[str, ...] | None


def _detect(source: AnnotationFile) -> str | None:
  if not set(_COLUMNS) <= set(source.first_line.split("\t")):
    return None
  return "a header with product_id, query and query_id"


def _rows(source: AnnotationFile) -> Iterator[tuple[str, list[str]]]:
  """Yields (place, [product_id, query, query_id])."""
  header = source.first_line.split("\t")
  missing = [name for name in _COLUMNS if name not in header]
  if missing:
    raise DataError(
      f"found a header without {', '.join(missing)}", file=f"{source.path}:1"
    )
  where = [header.index(name) for name in _COLUMNS]
  for number, (place, line) in enumerate(source.lines()):
    if number == 0:
      continue
    columns = line.split("\t")
    if len(columns) != len(header):
      raise DataError(
        f"found {len(columns)} columns, wanted {len(header)}", file=place
      )
    row = [columns[index] for index in where]
    for name, value in zip(_COLUMNS, row, strict=True):
      if not value.strip() and name != "query":
        raise DataError("found nothing, wanted an id", file=place, field=name)
    yield place, row


def _read(source: AnnotationFile) -> Iterator[ImageCaptions]:
  for place, (product, query, _) in _rows(source):
    yield ImageCaptions(place, (product,), None, [query])


def read_kdd_queries(
  path: str | pathlib.Path, answers: str | pathlib.Path | None = None
) -> list[KddQuery]:
  """The queries of a TSV, in its order.

  Args:
    path: valid.tsv or testA.tsv.
    answers: valid_answer.json, {query_id: [product_id]}.

  Raises:
    DataError: a query has two texts, or an answer is no candidate.
  """
  texts: dict[str, str] = {}
  candidates: dict[str, dict[str, None]] = {}
  for place, (product, query, query_id) in _rows(AnnotationFile(path)):
    if texts.setdefault(query_id, query) != query:
      raise DataError(
        f"found {query!r:.60}, before it was {texts[query_id]!r:.60}",
        file=place,
        record=f"query {query_id}",
      )
    candidates.setdefault(query_id, {})[product] = None
  for query_id, query in texts.items():
    if not query.strip():
      raise DataError(
        "found no text", file=path, record=f"query {query_id}", field="query"
      )
  right = {} if answers is None else _read_answers(pathlib.Path(answers))
  for query_id in right.keys() - candidates.keys():
    raise DataError(
      f"found no such query in {path}",
      file=answers,
      record=f"query {query_id}",
      hint="is this the answer file of another TSV?",
    )
  for query_id, products in right.items():
    for product in products:
      if product not in candidates.get(query_id, {}):
        raise DataError(
          f"found product {product}, which is no candidate of it in {path}",
          file=answers,
          record=f"query {query_id}",
        )
  return [
    KddQuery(
      query_id,
      texts[query_id],
      tuple(products),
      None if answers is None else right.get(query_id),
    )
    for query_id, products in candidates.items()
  ]


def _read_answers(path: pathlib.Path) -> dict[str, tuple[str, ...]]:
  wish = '{"query_id": [product_id, ...]}'
  content = AnnotationFile(path).entry(wish).fields
  for query_id, products in content.items():
    if not isinstance(products, list) or not all(
      type(product) in (int, str) for product in products
    ):
      raise DataError(
        f"found {json.dumps(products):.60}, wanted {wish}",
        file=path,
        record=f"query {query_id}",
      )
  return {
    str(query_id): tuple(dict.fromkeys(map(str, products)))
    for query_id, products in content.items()
  }


KDD_QUERIES = Reader(
  name="kdd_queries",
  expects="TSV with a header that has product_id, query and query_id (KDD Cup)",
  detect=_detect,
  read=_read,
  scattered=True,
)
