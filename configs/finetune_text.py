r"""Fine-tunes InterBERT-base on sentences of GLUE or CLUE, without images.

  python main.py --config=configs/finetune_text.py:mrpc \
      --workdir=runs/glue/mrpc \
      --config.init_from=runs/en/checkpoints/120000 \
      --config.input.directory=data/glue/MRPC \
      --config.input.vocab=bert-base-uncased-vocab.txt
  python eval_task.py --workdir=runs/glue/mrpc --split=val

The argument is the task: cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte, wnli,
tnews, afqmc, own. With --config.init_from=bert-base-uncased the same model
starts from the BERT that InterBERT started from: docs/text_tasks.md compares
the two.

BERT's recipe (arXiv 1810.04805, section 4.1 and appendix A.3): 3 epochs of
batches of 32, the best of the rates 5e-5, 4e-5, 3e-5 and 2e-5 on the dev set,
warm-up over a tenth. Hardware: one GPU. Not run here at this size.
"""

from configs import common
from input_pipeline.tasks.settings import TEXT_TASKS

_CHINESE = ("tnews", "afqmc")


def get_config(arg: str = "sst2"):
  name, _, rest = arg.partition(",")
  if name not in TEXT_TASKS:
    raise ValueError(
      f"finetune_text:{arg}: wanted one of {', '.join(TEXT_TASKS)}, perhaps "
      "with ,runlocal behind it"
    )
  config = common.base_config("text")
  config.model.dtype = "bfloat16"
  config.train.batch_size = 32
  config.train.epochs = 3.0
  config.evals.every = 0
  config.evals.batch_size = 128
  config = common.runlocal(config, rest)
  config.input.task = name
  if name in _CHINESE:
    config.language = "zh"
  # Some questions of QQP are empty, and some of its rows lack columns.
  if name == "qqp":
    config.input.on_bad_row = "skip"
  config.optim.lr = 2e-5
  config.optim.warmup_fraction = 0.1
  return config
