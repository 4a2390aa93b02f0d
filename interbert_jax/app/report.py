"""What an evaluation leaves: one JSON, and the files that a server takes.

Each task of app/tasks/ has a `report`, which eval_task.py calls. Tasks with
one file a split are evaluated by `report_split`.
"""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from input_pipeline.batches.reader import BatchReader
from interbert_jax.app import build
from interbert_jax.app.eval_settings import TaskReport
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.parallel import Parallel, is_main_process

# Writes the outputs of a split to a path, which it returns.
Writer = Callable[[str, Any], pathlib.Path]


def report_split(
  run: TrainedRun,
  settings: TaskReport,
  parallel: Parallel,
  *,
  held_out: BatchReader,
  files: Sequence[tuple[str | None, Writer]],
  counts: Mapping[str, int],
) -> dict[str, Any]:
  """Evaluates a split and writes what is asked for.

  Args:
    held_out: the data of the split.
    files: (path or None, what writes it); None leaves the file out.
    counts: what the result says was counted, beside images and texts.

  Returns:
    What the result says; nothing of a split without labels, and on all
    processes but the first.
  """
  info = held_out.info
  (evaluator,) = build.prediction_evaluators(
    run.settings, [held_out], task=run.task(info), parallel=parallel
  ).values()
  outputs = evaluator.outputs(run.placed_params(parallel))
  if not is_main_process():
    return {}
  for path, write in files:
    if path:
      print(write(path, outputs))
  if not held_out.is_labelled:
    print(f"{settings.split} has no labels: no metrics")
    return {}
  result = {
    "metrics": evaluator.metrics(outputs),
    "score_dtype": "float32",
    **evaluator.facts(outputs),
    **counts,
    "n_images": info["num_images"],
    "n_truncated_texts": info["num_truncated_texts"],
    "data_fingerprint": info["fingerprint"],
  }
  path = run.write(
    settings.output,
    task=run.settings.task.name,
    split=settings.split,
    **result,
  )
  for name, value in result["metrics"].items():
    if name != "loss":
      low, high = result["intervals_95"].get(name, (None, None))
      bounds = "" if low is None else f"  ({100 * low:.1f} to {100 * high:.1f})"
      print(f"{name}  {100 * value:.1f}{bounds}")
  print(path)
  return result
