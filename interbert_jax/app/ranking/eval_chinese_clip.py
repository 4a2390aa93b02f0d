r"""Retrieval on the files of Chinese-CLIP: MUGE, Flickr30K-CN, COCO-CN.

  python -m interbert_jax.app.ranking.eval_chinese_clip --workdir=runs/zh \
      --texts=valid_texts.jsonl --pool=valid_imgs.tsv --predictions=predictions

Every text is scored with every image of the pool; the same command goes on
after a kill. A text may have several right images, and is a hit where any of
them is among the first k.
"""

from interbert_jax.app.eval_flags import run_report
from interbert_jax.app.ranking.settings import PoolSettings

if __name__ == "__main__":
  run_report(
    PoolSettings, "interbert_jax.app.ranking.chinese_clip", "evaluate_pool"
  )
