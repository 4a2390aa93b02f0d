r"""KDD Cup 2020, multimodal recall: ranks each query's products.

  python -m interbert_jax.app.ranking.eval_kdd --workdir=runs/kdd \
      --queries=valid.tsv \
      --answers=valid_answer.json --submission=submission.csv

Products are in a region store (input_pipeline.convert reads the TSV). With
answers it writes metrics, with --submission the file to hand in.
"""

from interbert_jax.app.eval_flags import run_report
from interbert_jax.app.ranking.settings import KddSettings

if __name__ == "__main__":
  run_report(KddSettings, "interbert_jax.app.ranking.kdd", "evaluate_kdd")
