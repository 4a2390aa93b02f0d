"""Metrics of a fine-tuned run, and the files that its task's server takes.

  python eval_task.py --workdir=runs/vqa
  python eval_task.py --workdir=runs/vqa --split=test-dev --predictions=vqa.json
  python eval_task.py --workdir=runs/vcr --split=test --predictions=vcr.csv
  python eval_task.py --workdir=runs/nlvr2 --split=test1 --predictions=nlvr2.csv
  python eval_task.py --workdir=runs/glue/mrpc --split=test
  python eval_task.py --workdir=runs/glue --all

The run says what it was trained on: VQA, VCR, SNLI-VE, NLVR2 or sentences. A
split with labels gives one JSON of metrics. Sentences without labels become
predictions beside the JSON; --all averages the runs of a folder as GLUE does.
"""

from interbert_jax.app import command_line
from interbert_jax.app.eval_flags import (
  define_run_flags,
  open_run,
  read_settings,
)
from interbert_jax.app.eval_settings import TaskReport


def main(argv) -> None:
  command_line.refuse_positional(argv)
  from absl import flags

  from interbert_jax.app.evaluate import evaluate_folder, evaluate_run
  from interbert_jax.parallel import make_parallel

  settings = read_settings(TaskReport, ("output", "predictions"))
  if settings.all:
    folder = flags.FLAGS.workdir
    evaluate_folder(folder, open_run, settings, make_parallel())
  else:
    evaluate_run(open_run(), settings, make_parallel())


if __name__ == "__main__":
  define_run_flags()
  command_line.define_flags(TaskReport)
  command_line.run(main)
