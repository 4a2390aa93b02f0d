"""Texts against a pool of images, on the files of Chinese-CLIP.

Its scorer takes predictions of exactly 10 different ids: {"text_id",
"image_ids"} from text to image, {"image_id", "text_ids"} the other way. It
counts a hit where any right one is among the first 1, 5, 10, in percent, and
wants ids that are whole numbers.
"""

import hashlib
import json
import pathlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from input_pipeline.annotations.chinese_clip import QueryText, read_query_texts
from input_pipeline.catalogues.catalogue import Catalogue
from interbert_jax.app.ranking.scoring import (
  CatalogueScores,
  Texts,
  score_name,
)
from interbert_jax.app.ranking.settings import PoolSettings
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.contract import json_file
from interbert_jax.contract.errors import DataError
from interbert_jax.evaluation.results import mean_interval
from interbert_jax.parallel import Parallel
from interbert_jax.ranking import pool_ranks
from interbert_jax.ranking.retrieval_metrics import (
  RECALLS,
  TIE_POLICY,
  Ranks,
  expected_recall,
  recall_line,
  recall_metrics,
)
from interbert_jax.ranking.top_items import id_ranks

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


class PoolRetrieval(CatalogueScores):
  """One checkpoint's scores of texts with a pool.

  Args:
    texts: the queries.
    pool: what they choose from.
  """

  def __init__(
    self,
    run: TrainedRun,
    texts: Sequence[QueryText],
    pool: Catalogue,
    settings: PoolSettings,
    parallel: Parallel,
  ):
    self._texts = list(texts)
    number = {image: n for n, image in enumerate(pool.item_ids)}
    missing = [i for text in texts for i in text.image_ids if i not in number]
    if missing:
      raise DataError(
        f"{len(missing)} of its images are not in the pool of {len(pool)}, "
        f"such as {', '.join(missing[:5])}",
        file=settings.texts,
        field="image_ids",
      )
    pairs = [
      (place, number[image])
      for place, text in enumerate(texts)
      for image in text.image_ids
    ]
    self._text_P, self._image_P = np.array(pairs, np.int64).reshape(-1, 2).T
    content = json.dumps([[str(t.text_id), t.text] for t in texts])
    name = f"scores_{pathlib.Path(settings.texts).stem}_{run.step}"
    super().__init__(
      run,
      Texts(run, [text.text for text in texts]),
      pool,
      settings,
      parallel,
      directory=run.workdir / "eval" / name,
      facts={"texts_sha256": hashlib.sha256(content.encode()).hexdigest()},
    )

  @property
  def has_answers(self) -> bool:
    return len(self._text_P) > 0

  def _matches(self) -> Iterator[tuple[range, np.ndarray]]:
    for images, scores_HTN in self.tiles.all():
      yield images, scores_HTN[0]

  def metrics(self) -> dict[str, Any]:
    """Metrics, intervals over queries, and counts."""
    relevant = self._text_P, self._image_P, len(self._texts)
    ranks: dict[str, Ranks] = {
      "image_retrieval": pool_ranks.text_to_image_ranks(
        self._matches, *relevant
      ),
      "text_retrieval": pool_ranks.image_to_text_ranks(
        self._matches, *relevant
      ),
    }
    metrics, intervals = {}, {}
    for name, found in ranks.items():
      metrics |= recall_metrics(found, name)
      metrics[f"{name}_mean_recall"] = float(
        np.mean([metrics[f"{name}_recall@{k}"] for k in RECALLS])
      )
      for k in RECALLS:
        intervals[f"{name}_recall@{k}"] = mean_interval(
          expected_recall(found, k)
        )
    queries = len(np.unique(self._text_P))
    return {
      "metrics": metrics,
      "intervals_95": intervals,
      "n_texts": len(self._texts),
      "n_images": len(self.catalogue),
      "n_pairs_scored": len(self._texts) * len(self.catalogue),
      "n_queries": queries,
      "n_skipped": len(self._texts) - queries,
      "n_image_queries": len(np.unique(self._image_P)),
      "n_truncated_texts": self.num_truncated,
      "n_ties": int(sum(np.sum(found.tied_Q > 0) for found in ranks.values())),
      "data_fingerprint": hashlib.sha256(
        json.dumps(self.facts, sort_keys=True).encode()
      ).hexdigest(),
    }

  def write_predictions(self, directory: pathlib.Path) -> list[pathlib.Path]:
    """Predictions of both directions, and what the scorer makes of them.

    All texts are queries, and all images that a text names; where none names
    any, all images.
    """
    image_ids, text_ids = (
      self.catalogue.item_ids,
      [t.text_id for t in self._texts],
    )
    asked = np.unique(self._image_P).tolist() or list(range(len(image_ids)))
    to_image = pool_ranks.best_images(
      self._matches,
      len(text_ids),
      PLACES,
      id_ranks(image_ids),
    )
    to_text = pool_ranks.best_texts(
      self._matches,
      asked,
      PLACES,
      id_ranks([str(text_id) for text_id in text_ids]),
    )
    predictions = {
      "text_to_image": {
        text_id: [image_ids[n] for n in found]
        for text_id, found in zip(text_ids, to_image, strict=True)
      },
      "image_to_text": {
        image_ids[image]: [text_ids[n] for n in found]
        for image, found in zip(asked, to_text, strict=True)
      },
    }
    right: dict[str, dict] = {
      "text_to_image": {t.text_id: t.image_ids for t in self._texts},
      "image_to_text": {},
    }
    for text in self._texts:
      for image in text.image_ids:
        right["image_to_text"].setdefault(image, []).append(text.text_id)
    written = []
    for direction, found in predictions.items():
      written.append(
        write_predictions(directory / f"{direction}.jsonl", direction, found)
      )
      judged = {query: ids for query, ids in right[direction].items() if ids}
      if judged:
        written.append(
          json_file.write_json(
            directory / f"{direction}_output.json",
            scorer_output(found, judged),
          )
        )
    return written


def evaluate_pool(
  run: TrainedRun, settings: PoolSettings, parallel: Parallel
) -> None:
  """Scores all pairs, then writes predictions and the result."""
  section = run.settings.input
  pool = PoolRetrieval(
    run,
    read_query_texts(settings.texts),
    Catalogue(
      section.store, max_regions=section.max_regions, items=settings.pool
    ),
    settings,
    parallel,
  )
  pool.score()
  if not pool.is_whole():
    return
  if settings.predictions:
    for path in pool.write_predictions(pathlib.Path(settings.predictions)):
      print(path)
  if not pool.has_answers:
    print(f"{settings.texts} names no images: there is nothing to score")
    return
  run.config["input"]["annotations"] = settings.texts  # the result names it
  result = pool.metrics()
  path = run.write(
    settings.output,
    task="chinese_retrieval",
    split=settings.split,
    protocol="full pool, hit if any right one is among the first k",
    score=score_name(run.settings),
    score_dtype="float32",
    tie_policy=TIE_POLICY,
    **result,
  )
  for name in ("image_retrieval", "text_retrieval"):
    mean = 100 * result["metrics"][f"{name}_mean_recall"]
    print(f"{recall_line(result['metrics'], name)}  mean recall {mean:.1f}")
  print(path)
