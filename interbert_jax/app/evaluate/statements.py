"""What eval_statements.py does once its flags are read."""

from interbert_jax.app.tasks import statements
from interbert_jax.app.tasks.find import find_task
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.contract.errors import ConfigError
from interbert_jax.contract.files import write_text
from interbert_jax.parallel import Parallel, is_main_process


def evaluate_statements(
  run: TrainedRun,
  parallel: Parallel,
  *,
  split: str,
  output: str | None = None,
  predictions: str | None = None,
) -> dict[str, float]:
  """Writes what is asked for; returns the metrics of a labelled split."""
  name = run.settings.task.name
  if find_task(run.settings) is not statements:
    raise ConfigError(
      f"{run.workdir}: a run of task {name!r}, wanted one of snli_ve, nlvr2"
    )
  data = statements.data(run.settings, split)
  info = data.info
  run.check_vocabulary(info["vocab_sha256"], run.settings.input.vocab)
  task = statements.task(run.settings, info, model=run.model)
  evaluator = statements.evaluator(
    run.settings, task=task, held_out=data, parallel=parallel
  )
  logits = evaluator.logits(run.placed_params(parallel))
  if not is_main_process():
    return {}
  if predictions:
    lines = (
      f"{key},{data.label_names[label]}\n"
      for key, label in zip(data.ids, logits.argmax(1), strict=True)
    )
    print(write_text(predictions, "".join(lines)))
  if not data.is_labelled:
    print(f"{split} has no labels: no metrics")
    return {}
  metrics = evaluator.metrics(logits)
  path = run.write(
    output,
    task=name,
    split=split,
    protocol=f"one of {len(data.label_names)} labels",
    score="highest label logit",
    score_dtype="float32",
    metrics=metrics,
    intervals_95={"accuracy": list(evaluator.interval(logits))},
    interval_unit="sentence",
    n_statements=data.num_examples,
    n_images=info["num_images"],
    n_truncated_texts=info["num_truncated_texts"],
    data_fingerprint=info["fingerprint"],
  )
  for key, value in metrics.items():
    print(f"{key}  {100 * value:.1f}")
  print(path)
  return metrics
