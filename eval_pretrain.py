"""Held-out pretraining losses and accuracies of a checkpoint.

  python eval_pretrain.py --workdir=runs/quickstart --split=test
  python eval_pretrain.py --workdir=runs/quickstart --region_accuracy

With --region_accuracy also how many masked regions are recognised with their
text, with an empty one ([CLS] [SEP]), and by the image side alone.
"""

from interbert_jax.app.eval_flags import run_report
from interbert_jax.app.eval_settings import PretrainReport

if __name__ == "__main__":
  run_report(PretrainReport, "interbert_jax.app.tasks.pretrain", "report")
