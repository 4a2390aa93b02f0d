"""Accuracy of a checkpoint fine-tuned for SNLI-VE or NLVR2.

  python eval_statements.py --workdir=runs/nlvr2 --split=dev
  python eval_statements.py --workdir=runs/nlvr2 --split=test1 \
      --predictions=nlvr2.csv

Writes one JSON; the predictions have a line "id,label" for each statement.
"""

from absl import flags

from interbert_jax.app import command_line
from interbert_jax.app.eval_flags import define_flags, open_run

FLAGS = flags.FLAGS


def main(argv) -> None:
  command_line.refuse_positional(argv)
  from interbert_jax.app.evaluate.statements import evaluate_statements
  from interbert_jax.parallel import make_parallel

  run = open_run()
  evaluate_statements(
    run,
    make_parallel(),
    split=FLAGS.split,
    output=FLAGS.output,
    predictions=FLAGS.predictions,
  )


if __name__ == "__main__":
  define_flags()
  flags.FLAGS.set_default("split", "dev")
  flags.DEFINE_string("predictions", None, "CSV to write, without a header.")
  command_line.run(main)
