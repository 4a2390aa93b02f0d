"""Held-out pretraining losses and accuracies of a checkpoint.

  python eval_pretrain.py --workdir=runs/quickstart --split=test
  python eval_pretrain.py --workdir=runs/quickstart --region_accuracy

With --region_accuracy also how many masked regions are recognised with their
text, with an empty one ([CLS] [SEP]), and by the image side alone.
"""

from absl import flags

from interbert_jax.app import command_line
from interbert_jax.app.eval_flags import define_flags, open_run

FLAGS = flags.FLAGS


def main(argv) -> None:
  command_line.refuse_positional(argv)
  from interbert_jax.app import build as experiment
  from interbert_jax.app.tasks import pretrain
  from interbert_jax.parallel import is_main_process, make_parallel

  run = open_run()
  parallel = make_parallel()
  data = pretrain.data(run.settings, FLAGS.split)
  run.check_vocabulary(data.info["vocab_sha256"], run.settings.input.vocab)
  evaluator = experiment.loss_evaluator(
    run.settings,
    data,
    task=pretrain.task(run.settings, data.info, model=run.model),
    parallel=parallel,
  )
  params = run.placed_params(parallel)
  metrics = evaluator.run(params)
  if FLAGS.region_accuracy:
    metrics |= pretrain.region_accuracy(
      run.settings, FLAGS.split, model=run.model, parallel=parallel
    ).run(params)
  if not is_main_process():
    return
  path = run.write(
    FLAGS.output,
    task="pretraining",
    split=FLAGS.split,
    metrics=metrics,
    n_images=data.info["num_images"],
    n_texts=data.info["num_examples"],
    data_fingerprint=data.info["fingerprint"],
  )
  print("  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
  print(path)


if __name__ == "__main__":
  define_flags()
  flags.DEFINE_bool(
    "region_accuracy", False, "Of masked regions, with and without their text."
  )
  command_line.run(main)
