"""Fine-tunes InterBERT-base for retrieval on Flickr30K.

  python -m input_pipeline.mine_negatives --kind=images \
      --annotations=dataset_flickr30k.json --store=data/flickr30k \
      --output=data/flickr30k_near
  python main.py --config=configs/finetune_flickr30k.py \
      --config.init_from=runs/en/checkpoints/120000 \
      --config.input.store=data/flickr30k \
      --config.input.annotations=dataset_flickr30k.json \
      --config.input.vocab=bert-base-uncased-vocab.txt \
      --config.input.near_images=data/flickr30k_near

The official recipe (README, code): 64 captions with four pairs each, two
classes for every pair, 20 epochs at 4e-5, divided by 10 at epochs 12 and 16,
moving average 0.9999, 30 text and 101 region slots. The paper's model reaches
R@1 61.9, R@5 87.1, R@10 92.7 (text to image, its own README); not run here.
Hardware: one 80 GB GPU or a TPU. :choice is ViLBERT's loss, :triplet UNITER's.

Optimiser and precision are ours; :official has the official ones: BertAdam,
decay on biases and LayerNorms, each gradient clipped by itself, a first update
of rate 0, float32. Not copied: long captions there lose their [SEP].
"""

from configs import common

LOSSES = {
  "match": "match",
  "official": "match",
  "choice": "choice",
  "triplet": "triplet",
}


def get_config(arg: str = "match"):
  name, _, rest = arg.partition(",")
  if name not in LOSSES and name != "runlocal":
    raise ValueError(
      f"finetune_flickr30k:{arg}: wanted {', '.join(LOSSES)} or runlocal"
    )
  config = common.base_config("retrieval")
  config.input.max_regions = 101
  config.input.max_text_length = 30
  config.model.dtype = "bfloat16"

  config.train.batch_size = 64
  config.train.epochs = 20.0
  config.train.ema_decay = 0.9999
  config.optim.lr = 4e-5
  config.optim.schedule = "constant"
  config.optim.milestones = (12, 16)

  if name in LOSSES:
    config.task.loss = LOSSES[name]
  if name == "official":
    config.model.dtype = "float32"
    common.official_optimizer(config, "official_constant")
  if name == "triplet":
    # UNITER's hard negatives: the hardest of many, found at every step.
    config.input.random_texts = 31
    config.input.random_images = 31
    config.input.hard_texts = 0
    config.task.hardest = 4
    config.train.batch_size = 8
  return common.runlocal(config, "runlocal" if "runlocal" in arg else rest)
