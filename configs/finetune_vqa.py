"""Fine-tunes InterBERT-base for VQA v2.

  python main.py --config=configs/finetune_vqa.py \
      --config.init_from=runs/en/checkpoints/120000 \
      --config.input.store=data/coco \
      --config.input.annotations=data/vqa2 \
      --config.input.vocab=bert-base-uncased-vocab.txt --workdir=runs/vqa
  python eval_task.py --workdir=runs/vqa --split=val

data/vqa2 has the published files, unpacked. The answers are those that are best
of nine training questions; the usual 3,129 are of train and val together: name
their file (--config.input.answers). --config.input.train_split=train+val trains
on both; with --config.data_checks=warn, for scores of val then mean nothing.
InterBERT has published neither recipe nor score: 20 epochs of 256 questions at
4e-5 are ViLBERT's (paper, section 3.2). Not run here. Hardware: one 80 GB GPU
or a TPU.
"""

from configs import common


def get_config(arg: str = ""):
  config = common.base_config("vqa")
  config.model.dtype = "bfloat16"
  config.train.batch_size = 256
  config.train.epochs = 20.0
  config.train.ema_decay = 0.9999
  config.optim.lr = 4e-5
  config.evals.every = 5000
  return common.runlocal(config, arg)
