"""Fine-tunes InterBERT-base for visual entailment (SNLI-VE).

  python main.py --config=configs/finetune_snli_ve.py \
      --config.init_from=runs/en/checkpoints/120000 \
      --config.input.store=data/flickr30k \
      --config.input.annotations=data/snli_ve \
      --config.input.vocab=bert-base-uncased-vocab.txt --workdir=runs/snli_ve
  python eval_task.py --workdir=runs/snli_ve --split=test

data/snli_ve has snli_ve_train.jsonl, snli_ve_dev.jsonl and snli_ve_test.jsonl.
InterBERT has published neither recipe nor score; the settings are this
project's start, not tuned. Not run here. Hardware: one 80 GB GPU or a TPU.
"""

from configs import common


def get_config(arg: str = ""):
  config = common.base_config("snli_ve")
  config.model.dtype = "bfloat16"
  config.train.batch_size = 256
  config.train.epochs = 5.0
  config.optim.lr = 4e-5
  config.evals.every = 2000
  return common.runlocal(config, arg)
