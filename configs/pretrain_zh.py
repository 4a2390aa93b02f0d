r"""InterBERT-base, Chinese, on e-commerce images and titles.

  python main.py --config=configs/pretrain_zh.py --workdir=runs/pretrain_zh \
      --config.input.store=DIR --config.input.annotations=titles.jsonl \
      --config.input.vocab=vocab.txt
  python main.py --config=configs/pretrain_zh.py:runlocal --config.input...

The paper pretrains on 3.1 million image-title pairs of a shopping site; its
schedule is not published, so the English one is used. Text is split into
characters by the vocabulary of bert-base-chinese, and segments run over them.
Public product features come with 33 classes or none: without class
probabilities in the store, set --config.task.mrm_loss=features and
--config.task.mrm_weight=0.002 (docs/objectives.md).

Hardware: one 80 GB GPU or 8 TPU cores and up. Not run to its end yet, and no
Chinese score of the paper is public. `:runlocal` shrinks model and run to try
the data on a laptop.
"""

from configs import common, pretrain_en


def get_config(arg: str = ""):
  config = pretrain_en.get_config()
  config.input.store = "data/zh/regions"
  config.input.annotations = "data/zh/titles.jsonl"
  config.input.vocab = "data/vocab/bert-base-chinese-vocab.txt"
  config.language = "zh"
  return common.runlocal(config, arg)
