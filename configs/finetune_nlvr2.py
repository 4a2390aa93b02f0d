"""Fine-tunes InterBERT-base for sentences about two images (NLVR2).

  python main.py --config=configs/finetune_nlvr2.py \
      --config.init_from=runs/en/checkpoints/120000 \
      --config.input.store=data/nlvr2 \
      --config.input.annotations=data/nlvr2_annotations \
      --config.input.vocab=bert-base-uncased-vocab.txt --workdir=runs/nlvr2
  python eval_task.py --workdir=runs/nlvr2 --split=test1

data/nlvr2_annotations has train.json, dev.json and test1.json, a sentence a
line. InterBERT has published neither recipe nor score; the settings are this
project's start, not tuned. Not run here. Hardware: one 80 GB GPU or a TPU.
"""

from configs import common


def get_config(arg: str = ""):
  config = common.base_config("nlvr2")
  config.model.dtype = "bfloat16"
  config.train.batch_size = 128
  config.train.epochs = 10.0
  config.optim.lr = 4e-5
  config.evals.every = 2000
  return common.runlocal(config, arg)
