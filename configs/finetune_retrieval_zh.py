"""Fine-tunes Chinese InterBERT-base for text-based image retrieval.

  python -m input_pipeline.mine_negatives --kind=images \\
      --annotations=shoes.jsonl --store=data/shoes --output=data/shoes_near
  python main.py --config=configs/finetune_retrieval_zh.py \\
      --config.init_from=runs/pretrain_zh/checkpoints/90000 \\
      --config.input.store=data/shoes \\
      --config.input.annotations=shoes.jsonl \\
      --config.input.vocab=bert-base-chinese-vocab.txt \\
      --config.input.near_images=data/shoes_near --workdir=runs/shoes
  python eval_retrieval.py --workdir=runs/shoes --split=test

As the paper does it by its readers' accounts: pretraining on titles of one
category, fine-tuning on another. Its settings and scores are not published:
these are finetune_flickr30k.py's, with places for longer titles and fewer
regions. Arguments are its arguments too. Hardware: one 80 GB GPU or a TPU.
"""

from configs import finetune_flickr30k


def get_config(arg: str = "match"):
  config = finetune_flickr30k.get_config(arg)
  config.language = "zh"
  config.input.max_regions = 36
  config.input.max_text_length = 36  # product titles have 26.5 on average
  return config
