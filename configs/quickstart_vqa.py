"""Fine-tunes the quick start's model for questions in VQA's form.

  ./run.sh
  python main.py --config=configs/quickstart_vqa.py \
      --config.init_from=runs/quickstart_openmoji/checkpoints/1700 \
      --workdir=runs/quickstart_vqa
  python eval_vqa.py --workdir=runs/quickstart_vqa --split=val

Hardware: 2 CPU cores; 65 to 249 questions a second beside other work. Its score
is not measured yet.
"""

from configs import common, finetuning, quickstart


def get_config(arg: str = "openmoji"):
  config = finetuning.vqa(quickstart.get_config(arg))
  config.input.annotations = common.cache_dir(f"sample_{arg}", "vqa")
  config.input.max_regions = 8
  config.input.max_text_length = 20
  config.input.min_answer_count = 3

  config.train.batch_size = 64
  config.train.steps = 600
  config.optim.lr = 1e-3
  config.optim.warmup_fraction = 0.1
  config.evals.every = 200
  config.evals.batch_size = 100
  return config
