r"""Ranks the items of a catalogue for topics, with a trained checkpoint.

  python recommend.py --workdir=runs/quickstart_openmoji \
      --topics=topics.jsonl --items=items.jsonl --output=ranking.jsonl

Every topic is scored with every item; the same command goes on after a kill.
docs/recommendation.md says what a score is made of.
"""

from interbert_jax.app.eval_flags import run_report
from interbert_jax.app.ranking.settings import RecommendSettings

if __name__ == "__main__":
  run_report(
    RecommendSettings, "interbert_jax.app.ranking.recommendation", "recommend"
  )
