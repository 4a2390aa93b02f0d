"""Fine-tunes InterBERT-base for retrieval on COCO.

  python -m input_pipeline.mine_negatives --kind=images \
      --annotations=dataset_coco.json --store=data/coco --split=train+restval \
      --output=data/coco_near
  python main.py --config=configs/finetune_coco.py \
      --config.init_from=runs/en/checkpoints/120000 \
      --config.input.store=data/coco \
      --config.input.annotations=dataset_coco.json \
      --config.input.vocab=bert-base-uncased-vocab.txt \
      --config.input.near_images=data/coco_near
  python eval_retrieval.py --workdir=runs/coco --protocol=folds

Karpathy's splits: 113,287 images to train on, 5,000 to validate and to test.
InterBERT has no recipe for COCO; this is the one of finetune_flickr30k.py with
ten epochs instead of twenty, on four times as many captions. Not run here. A
comparison says whether COCO was pretrained on, as it is by pretrain_en.py.
Hardware: one 80 GB GPU or a TPU. :choice is ViLBERT's loss, :triplet UNITER's.
"""

from configs import finetune_flickr30k


def get_config(arg: str = "match"):
  config = finetune_flickr30k.get_config(arg)
  config.input.train_split = "train+restval"
  # A fifth of the validation images: all pairs of 5,000 take an hour.
  config.evals.retrieval_images = 1000
  if config.train.epochs is not None:  # not of a run for a laptop
    config.train.epochs = 10.0
    config.optim.milestones = (6, 8)
  return config
