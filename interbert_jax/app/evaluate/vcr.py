"""What eval_vcr.py does once its flags are read."""

import pathlib

import numpy as np

from interbert_jax.app.tasks import vcr
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.contract import json_file
from interbert_jax.contract.errors import ConfigError
from interbert_jax.contract.vcr import ANSWER, RATIONALE, RATIONALES_OF
from interbert_jax.evaluation import vcr_metrics
from interbert_jax.evaluation.vcr import VcrEvaluator
from interbert_jax.evaluation.vcr_leaderboard import write_leaderboard
from interbert_jax.parallel import Parallel, is_main_process


def evaluate_vcr(
  run: TrainedRun,
  parallel: Parallel,
  *,
  split: str,
  output: str | None = None,
  scores_file: str | None = None,
  leaderboard: str | None = None,
) -> dict[str, float]:
  """Writes what is asked for; returns the metrics of a labelled split."""
  name = run.settings.task.name
  if name != "vcr":
    raise ConfigError(f"{run.workdir}: a run of task {name!r}, wanted vcr")
  trained = tuple(run.settings.input.objectives)
  if leaderboard and set(trained) != {ANSWER, RATIONALE}:
    raise ConfigError(
      f"{run.workdir} was trained for {', '.join(trained)}; the leaderboard "
      f"wants both {ANSWER} and {RATIONALE} of one model"
    )
  data = vcr.data(
    run.settings,
    split,
    objectives=(ANSWER, *RATIONALES_OF) if leaderboard else None,
  )
  info = data.info
  run.check_vocabulary(info["vocab_sha256"], run.settings.input.vocab)
  task = vcr.task(run.settings, info, model=run.model)
  evaluator = vcr.evaluator(
    run.settings, task=task, held_out=data, parallel=parallel
  )
  scores = evaluator.scores(run.placed_params(parallel))
  if not is_main_process():
    return {}
  if leaderboard:
    print(
      write_leaderboard(
        leaderboard, data.annotation_ids, np.stack(list(scores.values()), 1)
      )
    )
  if scores_file:
    print(_write_scores(scores_file, data.annotation_ids, scores))
  if not data.is_labelled:
    print(f"{split} has no labels: no metrics")
    return {}
  return _write_metrics(run, evaluator, scores, data, info, split, output)


def _write_scores(path, annotation_ids, scores) -> pathlib.Path:
  rows = [
    {
      "annot_id": annotation_id,
      **{name: values[i].tolist() for name, values in scores.items()},
    }
    for i, annotation_id in enumerate(annotation_ids)
  ]
  return json_file.write_lines(path, rows)


def _write_metrics(
  run, evaluator: VcrEvaluator, scores, data, info, split, output
) -> dict[str, float]:
  found, labels = evaluator.asked(scores)
  metrics = vcr_metrics.vcr_metrics(found, labels)
  bounds = vcr_metrics.intervals(found, labels)
  path = run.write(
    output,
    task="vcr",
    split=split,
    protocol="four choices; rationales of the right answer",
    score="choice logit",
    score_dtype="float32",
    tie_policy=vcr_metrics.TIE_POLICY,
    n_ties=vcr_metrics.num_ties(found),
    metrics=metrics,
    intervals_95={name: list(pair) for name, pair in bounds.items()},
    interval_unit="question",
    n_questions=data.num_questions,
    n_images=info["num_images"],
    n_truncated_texts=info["num_truncated_texts"],
    data_fingerprint=info["fingerprint"],
  )
  for name, (low, high) in bounds.items():
    value = 100 * metrics[name]
    print(f"{name}  {value:.1f}  ({100 * low:.1f} to {100 * high:.1f})")
  print(path)
  return metrics
