"""Q->A, QA->R and Q->AR of a fine-tuned checkpoint, and the leaderboard's file.

  python eval_vcr.py --workdir=runs/vcr --split=val
  python eval_vcr.py --workdir=runs/vcr --split=test --leaderboard=vcr.csv

Of a split with labels it writes one JSON of metrics, and on request the scores
of each question. The file for the leaderboard has rationales of all four
answers: 20 texts a question.
"""

from absl import flags

from interbert_jax.app import command_line
from interbert_jax.app.eval_flags import define_flags, open_run

FLAGS = flags.FLAGS


def main(argv) -> None:
  command_line.refuse_positional(argv)
  from interbert_jax.app.evaluate.vcr import evaluate_vcr
  from interbert_jax.parallel import make_parallel

  run = open_run()
  evaluate_vcr(
    run,
    make_parallel(),
    split=FLAGS.split,
    output=FLAGS.output,
    scores_file=FLAGS.scores,
    leaderboard=FLAGS.leaderboard,
  )


if __name__ == "__main__":
  define_flags()
  flags.FLAGS.set_default("split", "val")
  flags.DEFINE_string(
    "scores", None, "JSON lines to write: the scores of each question, by id."
  )
  flags.DEFINE_string("leaderboard", None, "CSV to write, of 21 columns.")
  command_line.run(main)
