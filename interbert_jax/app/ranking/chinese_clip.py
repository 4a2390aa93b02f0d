"""Texts against a pool of images, on the files of Chinese-CLIP.

Its scorer takes predictions of exactly 10 different ids: {"text_id",
"image_ids"} from text to image, {"image_id", "text_ids"} the other way. It
counts a hit where any right one is among the first 1, 5, 10, in percent, and
wants ids that are whole numbers.
"""

import pathlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from input_pipeline.annotations.chinese_clip import QueryText, read_query_texts
from input_pipeline.catalogues.catalogue import Catalogue
from interbert_jax.app.ranking.scoring import CatalogueScores, Texts
from interbert_jax.app.ranking.settings import PoolSettings
from interbert_jax.app.tasks.retrieval import score_name
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.contract import json_file
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import facts_sha256
from interbert_jax.contract.text import listed
from interbert_jax.evaluation.results import linked, mean_interval
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


def plain_id(given: Id) -> Id:
  """A whole number where the id is one; the scorer refuses all others."""
  text = str(given)
  number = text.isascii() and text.isdigit() and str(int(text)) == text
  return int(text) if number else given


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
  for query, images in predictions.items():
    if len(images) != PLACES or len(set(images)) != PLACES:
      raise DataError(
        f"found {len(set(images))} different ids, wanted {PLACES}",
        file=path,
        record=f"{query_key} {query}",
        hint="the pool is too small",
      )
  return json_file.write_lines(
    path,
    [
      {query_key: plain_id(query), list_key: [plain_id(i) for i in images]}
      for query, images in predictions.items()
    ],
  )


def scorer_output(
  predictions: Mapping[Id, Sequence[Id]], right: Mapping[Id, Collection[Id]]
) -> dict[str, Any]:
  """output.json of the scorer: percentages over the queries of `right`."""
  recalls = {}
  for k in RECALLS:
    hits = [bool({*predictions[q][:k]} & {*ids}) for q, ids in right.items()]
    recalls[f"r{k}"] = 100.0 * float(np.mean(hits))
  mean = sum(recalls.values()) / len(recalls)
  score = {"score": mean, "mean_recall": mean, **recalls}
  return {"success": True, "score": mean, "scoreJson": score}


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
        f"such as {listed(missing, 5)}",
        file=settings.texts,
        field="image_ids",
      )
    pairs = [
      (place, number[image])
      for place, text in enumerate(texts)
      for image in text.image_ids
    ]
    self._text_P, self._image_P = np.array(pairs, np.int64).reshape(-1, 2).T
    content = [[str(text.text_id), text.text] for text in texts]
    name = f"scores_{pathlib.Path(settings.texts).stem}_{run.step}"
    super().__init__(
      run,
      Texts(run, [text.text for text in texts]),
      pool,
      settings,
      parallel,
      directory=run.workdir / "eval" / name,
      facts={"texts_sha256": facts_sha256(content)},
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
    # Texts of one image are not independent, nor are images of one text.
    group_P = linked(self._text_P, self._image_P)
    groups = {
      "image_retrieval": group_P[np.unique(self._text_P, return_index=True)[1]],
      "text_retrieval": group_P[np.unique(self._image_P, return_index=True)[1]],
    }
    metrics, intervals = {}, {}
    for direction, counted in ranks.items():
      metrics |= recall_metrics(counted, direction)
      names = [f"{direction}_recall@{k}" for k in RECALLS]
      metrics[f"{direction}_mean_recall"] = float(
        np.mean([metrics[name] for name in names])
      )
      for k, name in zip(RECALLS, names, strict=True):
        intervals[name] = mean_interval(
          expected_recall(counted, k), groups=groups[direction]
        )
    queries = len(np.unique(self._text_P))
    return {
      "metrics": metrics,
      "intervals_95": intervals,
      "interval_unit": "image",
      "n_texts": len(self._texts),
      "n_images": len(self.catalogue),
      "n_pairs_scored": len(self._texts) * len(self.catalogue),
      "n_queries": queries,
      "n_skipped": len(self._texts) - queries,
      "n_image_queries": len(np.unique(self._image_P)),
      "n_truncated_texts": self.num_truncated,
      "n_ties": int(sum(np.sum(r.tied_Q > 0) for r in ranks.values())),
      "data_fingerprint": facts_sha256(self.facts),
    }

  def write_predictions(self, directory: pathlib.Path) -> list[pathlib.Path]:
    """Predictions of both directions, and what the scorer makes of them.

    All texts are queries, and all images that a text names; where none names
    any, all images.
    """
    image_ids = self.catalogue.item_ids
    text_ids = [text.text_id for text in self._texts]
    asked = np.unique(self._image_P).tolist() or list(range(len(image_ids)))
    images_of_text = pool_ranks.best_images(
      self._matches, len(text_ids), PLACES, id_ranks(image_ids)
    )
    texts_of_image = pool_ranks.best_texts(
      self._matches, asked, PLACES, id_ranks([str(i) for i in text_ids])
    )
    right_of_image: dict[Id, list[Id]] = {}
    for text in self._texts:
      for image in text.image_ids:
        right_of_image.setdefault(image, []).append(text.text_id)
    # For each direction the lists of all queries, and what is right for some.
    lists = {
      "text_to_image": (
        {
          text_id: [image_ids[n] for n in best]
          for text_id, best in zip(text_ids, images_of_text, strict=True)
        },
        {t.text_id: t.image_ids for t in self._texts if t.image_ids},
      ),
      "image_to_text": (
        {
          image_ids[image]: [text_ids[n] for n in best]
          for image, best in zip(asked, texts_of_image, strict=True)
        },
        right_of_image,
      ),
    }
    written = []
    for direction, (predictions, right) in lists.items():
      path = directory / f"{direction}.jsonl"
      written.append(write_predictions(path, direction, predictions))
      if right:
        path = directory / f"{direction}_output.json"
        output = scorer_output(predictions, right)
        written.append(json_file.write_json(path, output))
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
    score=score_name(run.score_head()),
    score_dtype="float32",
    tie_policy=TIE_POLICY,
    **result,
  )
  metrics = result["metrics"]
  for direction in ("image_retrieval", "text_retrieval"):
    mean = 100 * metrics[f"{direction}_mean_recall"]
    print(f"{recall_line(metrics, direction)}  mean recall {mean:.1f}")
  print(path)
