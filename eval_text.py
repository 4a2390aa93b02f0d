"""Official metrics, and files for the servers, of a run on sentences.

  python eval_text.py --workdir=runs/glue/mrpc
  python eval_text.py --workdir=runs/glue/mrpc --split=test
  python eval_text.py --workdir=runs/glue --all

The first measures on the dev file. The second writes the predictions of a file
without answers as the benchmark's server takes them, beside the JSON. The third
evaluates every run in a folder and averages their scores as GLUE does; their
predictions go into one folder there.
"""

import pathlib

from absl import flags

from interbert_jax.app import command_line
from interbert_jax.app.eval_flags import define_flags

FLAGS = flags.FLAGS


def main(argv) -> None:
  command_line.refuse_positional(argv)
  from interbert_jax.app.evaluate import text as text_evaluation
  from interbert_jax.parallel import is_main_process, make_parallel

  options = {
    "split": FLAGS.split,
    "checkpoint": FLAGS.checkpoint,
    "changes": FLAGS.set,
    "ema": FLAGS.ema,
    "parallel": make_parallel(),
  }
  if not FLAGS.all:
    result = text_evaluation.evaluate(
      FLAGS.workdir, output=FLAGS.output, **options
    )
    if is_main_process():
      print("\n".join(text_evaluation.lines(result)))
    return
  folder = pathlib.Path(FLAGS.workdir)
  results = [
    text_evaluation.evaluate(
      workdir, output=None, predictions=folder / "predictions", **options
    )
    for workdir in text_evaluation.find_runs(folder)
  ]
  if not is_main_process():
    return
  path = text_evaluation.write_average(
    FLAGS.output or folder / f"text_{FLAGS.split}.json",
    results,
    split=FLAGS.split,
  )
  for result in results:
    print("\n".join(text_evaluation.lines(result)))
  print(path)


if __name__ == "__main__":
  define_flags()
  FLAGS.set_default("split", "val")  # the files of `test` have no answers
  flags.DEFINE_bool(
    "all", False, "Every run in the folder --workdir, and their average."
  )
  command_line.run(main)
