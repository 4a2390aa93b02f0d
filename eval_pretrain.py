"""Held-out pretraining losses and accuracies of a checkpoint.

python eval_pretrain.py --workdir=runs/quickstart --split=test
"""

from absl import flags

from tools import command_line
from tools.eval_flags import define_flags

FLAGS = flags.FLAGS


def main(argv) -> None:
  command_line.refuse_positional(argv)
  from interbert_jax.parallel import is_main_process, make_parallel
  from tools import experiment
  from tools.tasks import pretrain
  from tools.trained_run import TrainedRun

  run = TrainedRun(
    FLAGS.workdir,
    checkpoint=FLAGS.checkpoint,
    changes=FLAGS.set,
    ema=FLAGS.ema,
  )
  parallel = make_parallel()
  data = pretrain.data(run.config, FLAGS.split)
  run.check_vocabulary(data.info["vocab_sha256"], run.config["input"]["vocab"])
  evaluator = experiment.loss_evaluator(
    run.config,
    data,
    task=pretrain.task(run.config, data.info, model=run.model),
    parallel=parallel,
  )
  metrics = evaluator.run(run.placed_params(parallel))
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
  command_line.run(main)
