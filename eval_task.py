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

from absl import flags

from interbert_jax.app import command_line
from interbert_jax.app.eval_flags import define_flags, open_run

FLAGS = flags.FLAGS


def main(argv) -> None:
  command_line.refuse_positional(argv)
  from interbert_jax.app.evaluate import evaluate_folder, evaluate_run
  from interbert_jax.app.report import ReportOptions
  from interbert_jax.parallel import make_parallel

  if FLAGS.all:
    options = ReportOptions(
      FLAGS.split or "val", FLAGS.output, FLAGS.predictions, FLAGS.scores
    )
    evaluate_folder(FLAGS.workdir, open_run, options, make_parallel())
    return
  run = open_run()
  options = ReportOptions(
    FLAGS.split or run.config["evals"]["split"],
    FLAGS.output,
    FLAGS.predictions,
    FLAGS.scores,
  )
  evaluate_run(run, options, make_parallel())


if __name__ == "__main__":
  define_flags(split=None)
  flags.DEFINE_string(
    "predictions",
    None,
    "File to write for the server: JSON of VQA, CSV of VCR (21 columns), CSV "
    "of statements (id,label). Of sentences the folder of its files.",
  )
  flags.DEFINE_string(
    "scores", None, "JSON lines to write, of VCR: every question's scores."
  )
  flags.DEFINE_bool(
    "all",
    False,
    "Every run on sentences in the folder --workdir, and their average.",
  )
  command_line.run(main)
