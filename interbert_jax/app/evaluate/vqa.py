"""What eval_vqa.py does once its flags are read."""

from interbert_jax.app.tasks import vqa
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.contract import json_file
from interbert_jax.contract.errors import CheckpointError, ConfigError
from interbert_jax.parallel import Parallel, is_main_process


def evaluate_vqa(
  run: TrainedRun,
  parallel: Parallel,
  *,
  split: str,
  output: str | None = None,
  submission: str | None = None,
) -> dict[str, float]:
  """Writes what is asked for; returns the metrics of a labelled split."""
  name = run.settings.task.name
  if name != "vqa":
    raise ConfigError(f"{run.workdir}: a run of task {name!r}, wanted vqa")
  data = vqa.data(run.settings, split)
  info = data.info
  run.check_vocabulary(info["vocab_sha256"], run.settings.input.vocab)
  trained = run.meta.get("answers_sha256")
  if trained != info["answers_sha256"]:
    raise CheckpointError(
      f"the {info['num_answers']} answers (sha256 "
      f"{info['answers_sha256'][:12]}) are not those of the checkpoint (sha256 "
      f"{str(trained)[:12]}); name their file: --set=input.answers=FILE"
    )
  task = vqa.task(run.settings, info, model=run.model)
  evaluator = vqa.evaluator(
    run.settings, task=task, held_out=data, parallel=parallel
  )
  answers = evaluator.answers(run.placed_params(parallel))
  if not is_main_process():
    return {}
  if submission:
    rows = [
      {"question_id": int(number), "answer": data.answers[answer]}
      for number, answer in zip(data.question_ids, answers, strict=True)
    ]
    print(json_file.write_json(submission, rows))
  if not data.is_labelled:
    print(f"{split} has no annotations: no metrics")
    return {}
  metrics = evaluator.metrics(answers)
  bounds = evaluator.interval(answers)
  path = run.write(
    output,
    task="vqa",
    split=split,
    protocol="one of the answers; each person left out in turn",
    score="highest answer logit",
    score_dtype="float32",
    metrics=metrics,
    intervals_95={"accuracy": list(bounds)},
    interval_unit="image",
    n_questions=data.num_examples,
    n_images=info["num_images"],
    n_answers=info["num_answers"],
    n_truncated_texts=info["num_truncated_texts"],
    data_fingerprint=info["fingerprint"],
  )
  for name, value in metrics.items():
    print(f"{name}  {100 * value:.1f}")
  print(path)
  return metrics
