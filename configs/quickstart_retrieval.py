"""Fine-tunes the quick start's model for retrieval on the same scenes.

  ./run.sh
  python main.py --config=configs/quickstart_retrieval.py \
      --config.init_from=runs/quickstart_openmoji/checkpoints/1700

Hardware: 2 CPU cores, about 2 minutes.
"""

from configs import quickstart


def get_config(arg: str = "openmoji"):
  config = quickstart.small_config("retrieval", arg)
  config.input.random_texts = 2
  config.input.hard_texts = 0  # :near_images with a mined table
  config.input.random_images = 1

  config.train.batch_size = 16
  config.train.steps = 600
  config.optim.lr = 5e-4
  config.evals.pairs_per_step = 400
  return config
