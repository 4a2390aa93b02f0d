"""Zero-shot retrieval with the matching head of a pretrained checkpoint.

  python eval_retrieval.py --workdir=runs/quickstart --split=test

Scores every text with every image, in both directions, and writes one JSON.
"""

from absl import flags

from tools import command_line
from tools.eval_flags import define_flags

FLAGS = flags.FLAGS


def main(argv) -> None:
  command_line.refuse_positional(argv)
  from interbert_jax.parallel import is_main_process, make_parallel
  from interbert_jax.retrieval_metrics import RECALLS, TIE_POLICY
  from tools import experiment
  from tools.trained_run import TrainedRun

  run = TrainedRun(
    FLAGS.workdir,
    checkpoint=FLAGS.checkpoint,
    changes=FLAGS.set,
    ema=FLAGS.ema,
  )
  parallel = make_parallel()
  evaluator, data = experiment.retrieval_evaluator(
    run.config, FLAGS.split, model=run.model, parallel=parallel
  )
  run.check_vocabulary(data.vocab_sha256, run.config["input"]["vocab"])
  metrics = evaluator.run(run.placed_params(parallel))
  if not is_main_process():
    return
  path = run.write(
    FLAGS.output,
    task="zeroshot_retrieval",
    split=FLAGS.split,
    protocol="all_pairs",
    score="matching logit, match - mismatch",
    score_dtype="float32",
    tie_policy=TIE_POLICY,
    n_ties=metrics.pop("n_ties"),
    metrics=metrics,
    data_fingerprint=data.fingerprint,
    **evaluator.counts,
  )
  for name, title in (
    ("image_retrieval", "text -> image"),
    ("text_retrieval", "image -> text"),
  ):
    recalls = "  ".join(
      f"R@{k} {100 * metrics[f'{name}_recall@{k}']:.1f}" for k in RECALLS
    )
    print(f"{title}  {recalls}  median {metrics[f'{name}_median_rank']:.0f}")
  print(path)


if __name__ == "__main__":
  define_flags()
  command_line.run(main)
