"""Retrieval in two steps: the nearest by vectors, then their exact scores.

Reported under names of its own, beside what vectors alone give and what all
pairs give (eval_retrieval.py --shortlist=N).

Dimensions: T texts, I images, P pairs, O numbers of a vector.
"""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from input_pipeline.tasks.retrieval import RetrievalSet
from interbert_jax.app.eval_settings import RetrievalReport
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.contract.errors import ConfigError
from interbert_jax.evaluation.retrieval import RetrievalEvaluator
from interbert_jax.parallel import Parallel
from interbert_jax.ranking import retrieval_metrics
from interbert_jax.ranking.candidate_scorer import CandidateScorer
from interbert_jax.ranking.matrix_scorer import length_buckets
from interbert_jax.ranking.vectors import VectorEncoder

_BELOW = 1e6  # what is not scored ranks behind all that is, by its vector


class _Arrays:
  """The images of a set, as the encoder reads them."""

  def __init__(self, arrays: Mapping[str, np.ndarray]):
    self._arrays = arrays

  def __len__(self) -> int:
    return len(self._arrays["num_regions"])

  def read(self, items: range) -> dict[str, np.ndarray]:
    return {k: v[items.start : items.stop] for k, v in self._arrays.items()}


def nearest(likeness_QC: np.ndarray, count: int) -> np.ndarray:
  """[Q, C] whether a candidate is among the `count` nearest of a query."""
  order_QC = np.argsort(-likeness_QC, axis=1, kind="stable")
  chosen_QC = np.zeros(likeness_QC.shape, bool)
  np.put_along_axis(chosen_QC, order_QC[:, :count], True, axis=1)
  return chosen_QC


def report(
  run: TrainedRun,
  settings: RetrievalReport,
  parallel: Parallel,
  *,
  evaluator: RetrievalEvaluator,
  texts: RetrievalSet,
  head: Mapping[str, int],
) -> dict[str, float]:
  """Recall by vectors, by the shortlist and by all pairs; writes the result."""
  T, I = len(texts.text_length), len(texts.image_ids)
  count = settings.shortlist
  if settings.protocol != "all":
    raise ConfigError(
      f"protocol is {settings.protocol!r}; with --shortlist wanted all"
    )
  if count > I:
    raise ConfigError(f"shortlist is {count}; wanted at most {I}, the images")
  params = run.placed_params(parallel)
  encoder = VectorEncoder(run.model, params, parallel)
  text_arrays = {
    "text_ids": texts.text_ids,
    "text_length": texts.text_length,
  }
  image_arrays = {
    key: getattr(texts, key)
    for key in ("region_features", "region_boxes", "image_size", "num_regions")
  }
  began = time.perf_counter()
  likeness_TI = (
    encoder.texts(text_arrays) @ encoder.images(_Arrays(image_arrays)).T
  )
  # As large a share of the texts for each image.
  of_text_TI = nearest(likeness_TI, count)
  of_image_TI = nearest(likeness_TI.T, -(-count * T // I)).T
  seconds_vectors = time.perf_counter() - began

  began = time.perf_counter()
  text_P, image_P = np.nonzero(of_text_TI | of_image_TI)
  scores_TI = np.full((T, I), np.nan, np.float32)
  for texts_n, length in length_buckets(texts.text_length, 3):
    mine = np.flatnonzero(np.isin(text_P, texts_n))
    scorer = CandidateScorer(
      config=run.model,
      score=head,
      parallel=parallel,
      params=params,
      texts={
        "text_ids": texts.text_ids[:, :length],
        "text_length": np.minimum(texts.text_length, length),
      },
      pairs_per_step=run.settings.evals.pairs_per_step,
    )
    scores_TI[text_P[mine], image_P[mine]] = scorer.scores(
      image_arrays, text_P[mine], image_P[mine]
    )
  seconds_pairs = time.perf_counter() - began

  whole = evaluator.image_of_text_in((0, I))

  def metrics(name: str, by_direction: Mapping[str, np.ndarray]):
    found = {}
    for direction, scores in by_direction.items():
      for key, value in retrieval_metrics.retrieval_metrics(
        scores, whole
      ).items():
        if key.startswith(direction) and key.partition("@")[2].isdecimal():
          found[f"{name}_{key}"] = value
    return found

  def ranked(chosen_TI):
    return np.where(chosen_TI, scores_TI, np.float64(likeness_TI) - _BELOW)

  both = dict.fromkeys(("image_retrieval", "text_retrieval"), likeness_TI)
  values = metrics("vectors", both) | metrics(
    "shortlist",
    {
      "image_retrieval": ranked(of_text_TI),
      "text_retrieval": ranked(of_image_TI),
    },
  )
  facts: dict[str, Any] = {
    "n_pairs_scored": len(text_P),
    "n_pairs": T * I,
    "shortlist_images": count,
    "seconds_vectors": seconds_vectors,
    "seconds_shortlist_pairs": seconds_pairs,
  }
  if settings.exact:
    began = time.perf_counter()
    exact_TI = evaluator.scores(params, (0, I))
    facts["seconds_all_pairs"] = time.perf_counter() - began
    values |= metrics("exact", dict.fromkeys(both, exact_TI))
  path = run.write(
    settings.output,
    task="retrieval_shortlist",
    split=settings.split,
    metrics=values,
    n_images=I,
    n_texts=T,
    data_fingerprint=texts.fingerprint,
    **facts,
  )
  print(
    f"{T} texts, {I} images; {len(text_P):,} of {T * I:,} pairs scored "
    f"({100 * len(text_P) / (T * I):.1f} %)"
  )
  for name in ("vectors", "shortlist", "exact"):
    row = {
      k.removeprefix(f"{name}_"): v
      for k, v in values.items()
      if k.startswith(name)
    }
    for direction in both if row else ():
      line = retrieval_metrics.recall_line(row, direction)
      print(f"{name:9} {line}")
  print(path)
  return values
