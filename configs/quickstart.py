"""A small InterBERT on OpenMoji scenes with English captions.

  ./run.sh            builds the data, trains with this file and evaluates
  python main.py --config=configs/quickstart.py
  python main.py --config=configs/quickstart.py:shapes    without downloads

Hardware: 2 CPU cores, 2 to 5 minutes of training and evaluation. Expected on
the 100 test scenes: image retrieval R@1 0.34, R@10 0.88; text retrieval R@1
0.37, R@10 0.79 (measured, openmoji, seed 0; other seeds R@1 0.24 to 0.37).
"""

from configs import common


def small_config(task: str, mode: str):
  """A task on the sample data of a mode, with a model that suits it."""
  if mode not in ("openmoji", "shapes"):
    raise ValueError(f"quickstart:{mode}: wanted openmoji or shapes")
  config = common.base_config(task)
  data = common.cache_dir(f"sample_{mode}")
  config.input.vocab = f"{data}/vocab_en.txt"
  if "store" in config.input:  # not of texts alone
    config.input.store = f"{data}/regions"
    config.input.annotations = f"{data}/captions_en.jsonl"
    # The regions with the highest scores: the objects' own boxes (at most
    # four) and then the best of the shifted ones.
    config.input.max_regions = 8
  config.input.max_text_length = 24

  # Wider models memorise the scenes instead of learning words.
  config.model.hidden_size = 64
  config.model.num_interaction_layers = 3
  config.model.num_text_layers = 1
  config.model.num_region_layers = 1
  config.model.num_heads = 4
  config.model.region_num_heads = 4
  config.model.mlp_dim = 128
  config.model.region_mlp_dim = 128
  config.model.pooler_dim = 64
  config.model.max_position_embeddings = 64
  # As much spread as the base model's 0.02 gives at a width of 768.
  config.model.initializer_range = 0.07
  # Masking is noise enough here; dropout costs a fifth of the speed and
  # delays matching.
  config.model.hidden_dropout = 0.0
  config.model.attention_dropout = 0.0
  config.model.region_hidden_dropout = 0.0
  config.model.region_attention_dropout = 0.0
  config.model.pooled_dropout = 0.0

  config.evals.every = 0
  config.evals.batch_size = 100
  return config


def get_config(arg: str = "openmoji"):
  config = small_config("pretrain", arg)
  config.task.text_masking.rule = "token"
  config.task.text_masking.rate = 0.15
  # Captions of other images say nothing about these regions.
  config.task.mlm_on_mismatched = False
  config.task.group_size = 64
  config.task.mlm_rows = 1.75
  config.task.mrm_rows = 2.0

  config.train.batch_size = 64
  config.train.steps = 1700
  config.optim.lr = 2e-3
  config.optim.warmup_fraction = 0.05

  config.evals.every = 1000
  config.evals.retrieval_images = 40
  config.evals.pairs_per_step = 400
  return config
