r"""InterBERT in the layer shape of BERT-large, English. Ours, not the paper's.

  python main.py --config=configs/pretrain_en_large.py --workdir=runs/large \
      --config.init_from=bert-large-uncased --config.input.store=DIR \
      --config.input.annotations=captions.jsonl --config.input.vocab=vocab.txt
  python main.py --config=configs/pretrain_en_large.py:runlocal ...

12 interaction layers and 12 of either stream, hidden 1024, 16 heads: BERT-large
splits in the middle, as BERT-base does in the paper's model. Data, objectives
and schedule are those of pretrain_en.py. The rate is lower, and weights from
BERT train at a fifth of it: our choice, nothing was tried out.

Hardware: 8 GPUs of 80 GB or 32 TPU cores and up. By the FLOPs model 136 GF an
example, 3.4 times the base model: 15 epochs of 3.1 million pairs are 6.3 EF,
seven hours at 250 TFLOP/s. Not run, so there is no score to expect.
"""

from configs import common, pretrain_en


def get_config(arg: str = ""):
  config = pretrain_en.get_config()
  config.model.size = "large"
  config.model.remat = "dots"
  config.parallel.sharding = "zero1"
  config.optim.lr = 5e-5
  config.optim.rate_groups = ((common.BERT_PARAMETERS, 0.2),)
  return common.runlocal(config, arg)
