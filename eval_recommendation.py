r"""Metrics of a ranking of topics, from labels or a log of clicks.

  python eval_recommendation.py --ranking=ranking.jsonl \
      --relevance=relevance.tsv

Needs no model. Random and popular orders are scored beside; intervals are of a
bootstrap over topics. docs/recommendation.md defines every metric.
"""

from interbert_jax.app import command_line
from interbert_jax.app.ranking.settings import JudgeSettings


def main(argv) -> None:
  command_line.refuse_positional(argv)
  from interbert_jax.app.ranking.ranking_report import evaluate_ranking

  evaluate_ranking(command_line.read_flags(JudgeSettings))


if __name__ == "__main__":
  command_line.define_flags(JudgeSettings)
  command_line.run(main)
