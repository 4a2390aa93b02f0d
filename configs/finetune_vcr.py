"""Fine-tunes InterBERT-base for VCR: answers and rationales together.

  python main.py --config=configs/finetune_vcr.py \
      --config.init_from=runs/en/checkpoints/120000 \
      --config.input.store=data/vcr \
      --config.input.ground_truth=data/vcr_gt \
      --config.input.annotations=data/vcr1annots \
      --config.input.images=data/vcr1images \
      --config.input.vocab=bert-base-uncased-vocab.txt --workdir=runs/vcr
  python eval_task.py --workdir=runs/vcr --split=val

:answer and :rationale train one of the two alone. Of the official recipe
(README, code) are: 5 epochs at 2e-5, moving average 0.9999, 60 and 80 text
slots, 99 regions and the global one, a warm-up of 5 % of the updates. A batch
of 64 has both, in one random order. :official also updates for the two in turn,
32 questions each, with BertAdam, decay on biases and LayerNorms, each gradient
clipped by itself, a first update of rate 0, float32. The paper's model reaches
73.1 (Q->A), 74.8 (QA->R), 54.9 (Q->AR; its own README); not run here. Hardware:
one 80 GB GPU or a TPU.
"""

from configs import common

OBJECTIVES = {
  "both": ("answer", "rationale"),
  "official": ("answer", "rationale"),
  "answer": ("answer",),
  "rationale": ("rationale",),
}
METRICS = {"answer": "Q->A", "rationale": "QA->R"}


def get_config(arg: str = "both"):
  name, _, rest = arg.partition(",")
  if name not in OBJECTIVES and name != "runlocal":
    raise ValueError(
      f"finetune_vcr:{arg}: wanted {', '.join(OBJECTIVES)} or runlocal"
    )
  config = common.base_config("vcr")
  config.model.dtype = "bfloat16"
  config.train.batch_size = 64
  config.train.epochs = 5.0
  config.train.ema_decay = 0.9999
  config.optim.lr = 2e-5
  config.optim.schedule = "constant"
  config.optim.warmup_fraction = 0.05
  config.evals.batch_size = 64
  config.evals.every = 5000
  if name in OBJECTIVES:
    config.input.objectives = OBJECTIVES[name]
  if name in METRICS:
    config.checkpoint.best_metric = f"val/{METRICS[name]}"
    config.train.batch_size = 32
    config.optim.warmup_fraction = 0.1
  if name == "official":
    config.input.in_turn = True
    config.train.batch_size = 32
    config.model.dtype = "float32"
    common.official_optimizer(config, "official_constant")
  return common.runlocal(config, "runlocal" if "runlocal" in arg else rest)
