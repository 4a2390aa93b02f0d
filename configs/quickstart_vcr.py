"""Fine-tunes the quick start's model for questions in VCR's form.

  ./run.sh
  python main.py --config=configs/quickstart_vcr.py \
      --config.init_from=runs/quickstart_openmoji/checkpoints/1700 \
      --workdir=runs/quickstart_vcr
  python eval_task.py --workdir=runs/quickstart_vcr --split=val

Hardware: 2 CPU cores, about a minute. Expected on the validation scenes: Q->A
0.44, QA->R 0.42, Q->AR 0.17, from random parameters 0.41, 0.28 and 0.09
(measured, openmoji, three seeds: docs/results.md); chance is 0.25, 0.25 and
0.06.
"""

from configs import common, quickstart


def get_config(arg: str = "openmoji"):
  config = quickstart.small_config("vcr", arg)
  data = common.cache_dir(f"sample_{arg}")
  config.input.annotations = f"{data}/vcr"
  config.input.ground_truth = f"{data}/regions_objects"
  config.input.images = f"{data}/images"
  config.input.max_text_length = 40
  config.input.max_answer_length = 24

  config.train.batch_size = 32
  config.train.steps = 250
  config.optim.lr = 1e-3
  config.evals.batch_size = 40
  return config
