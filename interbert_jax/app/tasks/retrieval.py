"""Fine-tuning for retrieval: captions with candidates beside their image."""

import sys
from collections.abc import Mapping
from typing import Any

from configs.common import Experiment
from input_pipeline.tasks.retrieval import CandidateData, RetrievalSet
from interbert_jax.app import build
from interbert_jax.app.eval_settings import RetrievalReport
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.contract import json_file
from interbert_jax.contract.errors import ConfigError
from interbert_jax.contract.progress import Progress
from interbert_jax.evaluation.evaluators import Evaluator
from interbert_jax.evaluation.retrieval import mean_metrics, protocol_parts
from interbert_jax.model.config import InterBertConfig
from interbert_jax.parallel import Parallel, is_main_process
from interbert_jax.ranking import retrieval_metrics
from interbert_jax.ranking.score_tiles import MatrixTiles
from interbert_jax.tasks.retrieval import SCORES, RetrievalTask


def data(settings: Experiment, split: str) -> CandidateData:
  return CandidateData(
    settings.input, split=split, **build.host_options(settings)
  )


def task(
  settings: Experiment, info: Mapping[str, Any], model: InterBertConfig
) -> RetrievalTask:
  return RetrievalTask(
    model, settings.task, feature_encoding=info["feature_encoding"]
  )


def check(settings: Experiment) -> None:
  """Refuses a run without evaluation, or without the candidates it wants."""
  problems = []
  if settings.evals.retrieval_images < 1:  # its only evaluation
    problems.append("evals.retrieval_images is 0; wanted 1 or more")
  hard = settings.input.hard_texts
  if hard and not settings.input.near_images:
    problems.append(
      f"input.near_images is empty, but each example wants {hard} hard texts; "
      "mine them with python -m input_pipeline.mine_negatives --kind=images, "
      "or set input.hard_texts to 0"
    )
  if problems:
    raise ConfigError("\n".join(problems))


def reported(settings: Experiment) -> dict[str, tuple[str, ...]]:
  """Names of the metrics that an evaluation gives, by their prefix."""
  return {settings.evals.split: retrieval_metrics.metric_names()}


def evaluators(
  settings: Experiment,
  *,
  task: RetrievalTask,
  held_out: CandidateData,
  parallel: Parallel,
) -> dict[str, Evaluator]:
  """Retrieval over some images; all pairs, both directions."""
  del held_out
  split = settings.evals.split
  evaluator, _ = build.retrieval_evaluator(
    settings,
    split,
    model=task.config,
    score=SCORES[task.settings.loss],
    parallel=parallel,
    max_images=settings.evals.retrieval_images,
  )
  return {split: evaluator}


def score_name(head: Mapping[str, int]) -> str:
  """What a head's score of a pair is, as a result says it."""
  if head == SCORES["choice"]:
    return "choice logit"
  return "matching logit, match - mismatch"


def report(
  run: TrainedRun, settings: RetrievalReport, parallel: Parallel
) -> dict[str, float]:
  """Retrieval in both directions, of a fine-tuned run or a pretrained one.

  Finished parts of the scores stay on disk until the result is written.
  """
  run.check_script("eval_retrieval.py")
  task, head = run.settings.task, run.score_head()
  evaluator, texts = build.retrieval_evaluator(
    run.settings,
    settings.split,
    model=run.model,
    score=head,
    parallel=parallel,
  )
  run.check_width(texts.region_features.shape[-1])
  run.check_vocabulary(texts.vocab_sha256, run.settings.input.vocab)
  if settings.shortlist:
    from interbert_jax.app.ranking import shortlist

    return shortlist.report(
      run, settings, parallel, evaluator=evaluator, texts=texts, head=head
    )
  protocol, parts = protocol_parts(
    settings.protocol, len(texts.image_ids), settings.part_images
  )
  counts = evaluator.counts(parts)
  tiles = MatrixTiles(
    run.workdir / "eval" / "unfinished",
    run.score_facts(data_fingerprint=texts.fingerprint),
    write=is_main_process(),
  )
  params = run.placed_params(parallel)
  by_part, intervals, lines = [], {}, []
  with Progress(
    total=counts["n_pairs_scored"],
    unit="pair",
    what="scoring",
    silent=not is_main_process(),
  ) as progress:
    for part in parts:
      scores = evaluator.scores(
        params, part, tiles=tiles, advance=progress.advance
      )
      image_of_text = evaluator.image_of_text_in(part)
      by_part.append(retrieval_metrics.retrieval_metrics(scores, image_of_text))
      if settings.resamples and len(parts) == 1:
        intervals = retrieval_metrics.recall_intervals(
          scores, image_of_text, resamples=settings.resamples
        )
      if settings.ranks:
        rows = retrieval_metrics.query_rows(
          scores, image_of_text, top=settings.top
        )
        lines += [named_row(row, texts, part[0]) for row in rows]
  metrics = mean_metrics(by_part)
  n_ties = metrics.pop("n_ties")
  if not is_main_process():
    return metrics
  if tiles.reused:
    print(f"{tiles.reused} finished parts were there before", file=sys.stderr)
  if settings.ranks:
    print(json_file.write_lines(settings.ranks, lines))
  path = run.write(
    settings.output,
    task="retrieval" if task.name == "retrieval" else "zeroshot_retrieval",
    split=settings.split,
    protocol=protocol,
    score=score_name(head),
    score_dtype="float32",
    tie_policy=retrieval_metrics.TIE_POLICY,
    n_ties=n_ties,
    metrics=metrics,
    intervals_95=intervals or None,
    **({"interval_unit": "image"} if intervals else {}),
    folds=by_part if len(by_part) > 1 else None,
    n_truncated_texts=texts.num_truncated_texts,
    data_fingerprint=texts.fingerprint,
    **counts,
  )
  tiles.remove()
  images, pairs = counts["n_images"] / len(parts), counts["n_pairs_scored"]
  print(
    f"{counts['n_texts']} texts, {counts['n_images']} images, {pairs} pairs; "
    f"R@k in percent, chance of text -> image R@1 {100 / images:.2g}"
  )
  for direction in ("image_retrieval", "text_retrieval"):
    median = f"median {metrics[f'{direction}_median_rank']:.0f}"
    print(f"{retrieval_metrics.recall_line(metrics, direction)}  {median}")
  if intervals:
    low, high = intervals["image_retrieval_recall@1"]
    print(f"R@1 of text -> image: {100 * low:.1f} to {100 * high:.1f} % (95 %)")
  print(path)
  return metrics


def named_row(
  row: Mapping[str, Any], texts: RetrievalSet, first_image: int
) -> dict[str, Any]:
  """A query's row, with images by their ids and texts by their numbers.

  Args:
    row: of `retrieval_metrics.query_rows` over a part of the set.
    first_image: of the part.
  """
  first_text = int((texts.image_of_text < first_image).sum())

  def text(number: int) -> int:
    return first_text + number

  def image(number: int) -> str:
    return texts.image_ids[first_image + number]

  from_text = row["direction"] == "image_retrieval"
  query, candidate = (text, image) if from_text else (image, text)
  named = {
    **row,
    "query": query(row["query"]),
    "relevant": [candidate(number) for number in row["relevant"]],
    "top": [candidate(number) for number in row["top"]],
  }
  return {**named, "text": texts.texts[named["query"]]} if from_text else named
