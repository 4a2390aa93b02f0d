"""Retrieval with a pretrained or fine-tuned checkpoint.

  python eval_retrieval.py --workdir=runs/quickstart --split=test
  python eval_retrieval.py --workdir=runs/coco --protocol=folds

Scores every text with every image, in both directions, and writes one JSON.
The same command goes on where it was stopped.
"""

from interbert_jax.app.eval_flags import run_report
from interbert_jax.app.eval_settings import RetrievalReport

if __name__ == "__main__":
  run_report(RetrievalReport, "interbert_jax.app.tasks.retrieval", "report")
