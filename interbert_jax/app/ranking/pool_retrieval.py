"""Texts against a pool of images, both directions, a tile at a time."""

import hashlib
import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from input_pipeline.annotations.chinese_clip import QueryText
from input_pipeline.catalogues.catalogue import Catalogue
from interbert_jax.app.ranking import chinese_clip_output, scoring
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.contract import json_file
from interbert_jax.contract.errors import DataError
from interbert_jax.evaluation.bootstrap import mean_interval
from interbert_jax.parallel import Parallel
from interbert_jax.ranking import pool_ranks
from interbert_jax.ranking.metrics import id_ranks
from interbert_jax.ranking.recommend import MATCH
from interbert_jax.ranking.retrieval_metrics import (
  RECALLS,
  Ranks,
  expected_recall,
  recall_metrics,
)
from interbert_jax.ranking.tiles import ItemTiles


class PoolRetrieval:
  """One checkpoint's scores of texts with a pool.

  Args:
    texts: the queries.
    pool: what they choose from.
    directory: of the tiles of scores.
    restart: throws away scores of other facts.
    wanted_by: file of the texts, for messages.
  """

  def __init__(
    self,
    run: TrainedRun,
    texts: Sequence[QueryText],
    pool: Catalogue,
    *,
    directory: str | pathlib.Path,
    parallel: Parallel,
    tile_items: int,
    restart: bool = False,
    wanted_by: object = None,
  ):
    self._texts, self._pool = list(texts), pool
    self._tile_items = tile_items
    number = {image: n for n, image in enumerate(pool.item_ids)}
    missing = [i for text in texts for i in text.image_ids if i not in number]
    if missing:
      raise DataError(
        f"{len(missing)} of its images are not in the pool of {len(pool)}, "
        f"such as {', '.join(missing[:5])}",
        file=wanted_by,
        field="image_ids",
      )
    pairs = [
      (place, number[image])
      for place, text in enumerate(texts)
      for image in text.image_ids
    ]
    self._text_P, self._image_P = np.array(pairs, np.int64).reshape(-1, 2).T
    asked = scoring.Texts(run, [text.text for text in texts])
    self._num_truncated = asked.num_truncated
    self._score = scoring.pair_scorer(run, asked, parallel)
    content = json.dumps([[str(t.text_id), t.text] for t in texts])
    facts = scoring.score_facts(run, pool)
    facts["texts_sha256"] = hashlib.sha256(content.encode()).hexdigest()
    self._facts = facts
    self.tiles = ItemTiles(
      directory,
      facts=facts,
      channels=(MATCH,),
      num_texts=len(texts),
      num_items=len(pool),
      tile_items=tile_items,
      restart=restart,
    )

  @property
  def has_answers(self) -> bool:
    return len(self._text_P) > 0

  def score(self, share: tuple[int, int] = (0, 1)) -> int:
    """Scores the tiles that are missing; returns the number of pairs."""
    return scoring.fill_tiles(
      self.tiles,
      self._score,
      self._pool,
      tile_items=self._tile_items,
      share=share,
    )

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
      "n_images": len(self._pool),
      "n_pairs_scored": len(self._texts) * len(self._pool),
      "n_queries": queries,
      "n_skipped": len(self._texts) - queries,
      "n_image_queries": len(np.unique(self._image_P)),
      "n_truncated_texts": self._num_truncated,
      "n_ties": int(sum(np.sum(found.tied_Q > 0) for found in ranks.values())),
      "data_fingerprint": hashlib.sha256(
        json.dumps(self._facts, sort_keys=True).encode()
      ).hexdigest(),
    }

  def write_predictions(self, directory: pathlib.Path) -> list[pathlib.Path]:
    """Predictions of both directions, and what the scorer makes of them.

    All texts are queries, and all images that a text names; where none names
    any, all images.
    """
    image_ids, text_ids = self._pool.item_ids, [t.text_id for t in self._texts]
    asked = np.unique(self._image_P).tolist() or list(range(len(image_ids)))
    to_image = pool_ranks.best_images(
      self._matches,
      len(text_ids),
      chinese_clip_output.PLACES,
      id_ranks(image_ids),
    )
    to_text = pool_ranks.best_texts(
      self._matches,
      asked,
      chinese_clip_output.PLACES,
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
        chinese_clip_output.write_predictions(
          directory / f"{direction}.jsonl", direction, found
        )
      )
      judged = {query: ids for query, ids in right[direction].items() if ids}
      if judged:
        written.append(
          json_file.write_json(
            directory / f"{direction}_output.json",
            chinese_clip_output.scorer_output(found, judged),
          )
        )
    return written
