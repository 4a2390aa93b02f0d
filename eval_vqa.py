"""Official accuracy of a checkpoint fine-tuned for VQA, and its answers.

  python eval_vqa.py --workdir=runs/vqa --split=val
  python eval_vqa.py --workdir=runs/vqa --split=test-dev --submission=vqa.json

Of a split with annotations it writes one JSON of metrics; the submission has
the answer to every question, as the server wants them.
"""

from absl import flags

from interbert_jax.app import command_line
from interbert_jax.app.eval_flags import define_flags, open_run

FLAGS = flags.FLAGS


def main(argv) -> None:
  command_line.refuse_positional(argv)
  from interbert_jax.app.evaluate.vqa import evaluate_vqa
  from interbert_jax.parallel import make_parallel

  run = open_run()
  evaluate_vqa(
    run,
    make_parallel(),
    split=FLAGS.split,
    output=FLAGS.output,
    submission=FLAGS.submission,
  )


if __name__ == "__main__":
  define_flags()
  flags.FLAGS.set_default("split", "val")
  flags.DEFINE_string("submission", None, "JSON to write: all answers.")
  command_line.run(main)
