"""The base of every configuration: every key there is, with its meaning.

A configuration file starts from `base_config()` and states what differs. All
of it can be changed on the command line: --config.optim.lr=3e-4. Keys are
locked, so a misspelt one is refused with the nearest name.

Batch sizes are global, tuples are used where lists would be (a list cannot be
overridden), and a placeholder is a key that is empty unless it is set.
"""

import os

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def cache_dir(*parts: str) -> str:
  """Where downloads and sample data go: $INTERBERT_CACHE or ~/.cache."""
  root = os.environ.get("INTERBERT_CACHE") or os.path.join(
    os.path.expanduser("~"), ".cache", "interbert_jax"
  )
  return os.path.join(root, *parts)


def runlocal(config: ConfigDict, arg: str) -> ConfigDict:
  """With the argument "runlocal", a model and a run for a laptop."""
  if arg not in ("", "runlocal"):
    raise ValueError(f"argument {arg!r}: wanted nothing or runlocal")
  if arg == "runlocal":
    config.model.size = "tiny"
    config.model.max_position_embeddings = 128  # the longest of these files
    config.model.dtype = "float32"
    config.train.batch_size = 32
    config.train.epochs = None
    config.train.steps = 20
    config.train.log_every = 5
    config.evals.every = 0
    config.evals.batch_size = 32
    if "retrieval_images" in config.evals:  # not of every task
      config.evals.retrieval_images = 8
      config.evals.pairs_per_step = 64
    config.checkpoint.save_every = 20
  return config


def corpus(
  *,
  store: str = "",
  annotations: str = "",
  split: str = "train",
  negatives: str = "",
  text: str = "",
  weight: float | None = None,
) -> ConfigDict:
  """One of several corpora: a store with annotations, or a file of text.

  Weights are relative to each other; without any, examples of all corpora are
  seen equally often.
  """
  found = ConfigDict()
  found.store = store
  found.annotations = annotations
  found.split = split
  found.negatives = negatives  # of this corpus (mine_negatives)
  found.text = text  # one example a line, for masked segments alone
  found.weight = placeholder(float)
  found.weight = weight
  return found


# The parameters that exist in BERT-base too: the official scripts train them
# at a tenth of the rate (their MLM head, which BERT has as well, they do not).
BERT_PARAMETERS = (
  r"(^|/)encoder/(text_embeddings|interaction_encoder|text_encoder)/"
)


def official_optimizer(config: ConfigDict) -> ConfigDict:
  """Pretraining's optimiser exactly as in the official code."""
  config.optim.algorithm = "bert_adam"
  config.optim.schedule = "official_linear"
  config.optim.rate_groups = ((BERT_PARAMETERS, 0.1),)
  config.optim.decay_on = "biases_and_norms"
  config.optim.clip = "per_parameter"
  return config


def base_config() -> ConfigDict:
  config = ConfigDict()
  # Of parameters, example order, mismatches, masks and dropout.
  config.seed = 0
  config.language = "en"  # of the captions; noted in results
  # An error shows where it came from, and the first number that is not finite
  # is one: jax_debug_nans is set, and train.max_skipped is 1. Slow.
  config.debug = False
  # Weights to start from (docs/weights.md): a checkpoint's step directory, an
  # exported folder, a Hugging Face BERT, official weights. The workdir's own
  # checkpoint goes first.
  config.init_from = ""
  config.init = ConfigDict()
  # checkpoint, export, official or bert, where their content misleads auto.
  config.init.format = "auto"
  # Of a BERT: its layer for each interaction layer and then for each text
  # layer (-1: random); empty where it has as many as both, in order.
  config.init.layers = ()
  config.init.region_layers = ()  # for each region layer; empty: random
  # The vocabulary of the weights; empty for the one kept with them.
  config.init.vocab = ""
  # Beginnings of parameters' paths that start at random all the same, such as
  # "region_head/decoder" for other region classes.
  config.init.skip = ()
  config.init.ema = False  # of a checkpoint the moving average instead

  config.model = ConfigDict()
  # tiny (tests), base (the paper's), large. The other keys change it.
  config.model.size = "base"
  # The next three are taken from the data unless they are set.
  config.model.vocab_size = placeholder(int)
  config.model.region_feature_dim = placeholder(int)
  config.model.num_region_classes = placeholder(int)
  config.model.hidden_size = placeholder(int)
  config.model.num_interaction_layers = placeholder(int)
  config.model.num_text_layers = placeholder(int)
  config.model.num_region_layers = placeholder(int)
  config.model.num_heads = placeholder(int)  # interaction and text layers
  config.model.region_num_heads = placeholder(int)
  config.model.mlp_dim = placeholder(int)
  config.model.region_mlp_dim = placeholder(int)
  config.model.max_position_embeddings = placeholder(int)
  config.model.type_vocab_size = placeholder(int)
  config.model.pooler_dim = placeholder(int)
  config.model.fusion = placeholder(str)  # product or sum
  config.model.hidden_dropout = placeholder(float)
  config.model.attention_dropout = placeholder(float)
  config.model.region_hidden_dropout = placeholder(float)
  config.model.region_attention_dropout = placeholder(float)
  config.model.pooled_dropout = placeholder(float)
  config.model.initializer_range = placeholder(float)
  config.model.dtype = "float32"  # of the computation; or bfloat16
  # What the backward pass computes again to save memory: none, full (whole
  # layers), dots (all but the matrix products).
  config.model.remat = "none"

  config.task = ConfigDict()
  config.task.name = "pretrain"  # the others: finetuning.py
  config.task.text_masking = ConfigDict()
  # token (BERT), span (official --span_mask), segment (the paper's).
  config.task.text_masking.rule = "segment"
  # Share of tokens chosen (token) or made anchors (segment); span has none.
  config.task.text_masking.rate = 0.1
  # Probabilities of segments of 1, 2, 3, ... tokens.
  config.task.text_masking.segment_length_probs = (0.0, 0.0, 1.0)
  config.task.text_masking.mask_prob = 0.8  # chosen tokens that become [MASK]
  config.task.text_masking.random_prob = 0.1  # that become any word
  # All pieces of a word together; rate and lengths then count words.
  config.task.text_masking.whole_word = False
  config.task.region_masking = ConfigDict()
  # iou_group (paper and official --span_mask) or region (one by one).
  config.task.region_masking.rule = "iou_group"
  config.task.region_masking.rate = 0.15  # of anchors, or of regions
  config.task.region_masking.min_iou = 0.4  # an anchor takes these along
  config.task.region_masking.zero_prob = 1.0  # chosen regions that are zeroed
  # Weights in the total loss; 0 leaves an objective out.
  config.task.mlm_weight = 1.0
  config.task.mrm_weight = 1.0
  config.task.itm_weight = 1.0
  # kl (to the class distribution), hard (its most probable class),
  # hard_confidence (times its probability), features (squared error).
  config.task.mrm_loss = "kl"
  # Of squared errors on features beside a loss of classes; 0 for none.
  config.task.mrm_feature_weight = 0.0
  # Masked words are predicted in mismatched pairs too, as officially; masked
  # regions are not.
  config.task.mlm_on_mismatched = True
  config.task.mrm_on_mismatched = False
  # What the global region sees where regions are hidden: masked_sum (official:
  # the features shown over the number of all), visible_mean (over theirs).
  config.task.global_region = "masked_sum"
  # Words or regions of a pair are masked, each in half of the pairs.
  config.task.conditional_masking = False
  # The heads run on masked slots only: up to mlm_rows and mrm_rows of them
  # per example, shared by groups of group_size examples. The metrics
  # mlm_dropped and mrm_dropped say what share found no place: keep it at 0.
  # group_size divides the batch size per device.
  config.task.group_size = 32
  config.task.mlm_rows = 6.0
  config.task.mrm_rows = 10.0

  # A sample of the data is checked as a run begins (python -m
  # input_pipeline.check looks at all of it). What is wrong: error, warn, off.
  config.data_checks = "error"

  config.input = ConfigDict()
  config.input.store = ""  # directory of the region store
  config.input.annotations = ""  # captions in any format of docs/data.md
  config.input.captions = ConfigDict()
  config.input.captions.format = "auto"  # or its name, where auto is wrong
  # Images without regions, and blank captions: error, or skip and say so.
  config.input.captions.on_missing = "error"
  config.input.captions.on_bad_caption = "error"
  config.input.captions.captions_per_image = placeholder(int)  # the first
  # Several corpora to train on, by name: see `corpus`. Evaluation reads store
  # and annotations above.
  config.input.corpora = ConfigDict()
  config.input.vocab = ""  # WordPiece vocabulary, one entry a line
  # Where words begin, for whole-word masking: pieces (those that begin with ##
  # go on a word), or jieba (Chinese words; pip install jieba).
  config.input.word_boundaries = "pieces"
  config.input.train_split = "train"  # of the annotations
  config.input.max_regions = 36  # slots, without the global region
  config.input.max_text_length = 36  # slots, [CLS] and [SEP] included
  config.input.mismatch_prob = 0.5  # pairs that get another image's caption
  # Mined captions (python -m input_pipeline.mine_negatives), and the share of
  # the mismatches that are taken from them (paper: 20 %); empty for none.
  config.input.negatives = ""
  config.input.hard_negative_prob = 0.2
  # Regions are kept in memory where the split needs no more than this.
  config.input.cache_bytes = 2 << 30
  # Directory on a local disk or in /dev/shm for a copy of the training images
  # that is made once and read several times faster; empty for none.
  config.input.stage_dir = ""
  # With several hosts, each may copy its own share only: shares is then the
  # number of hosts, or a multiple. It changes the order of examples.
  config.input.shares = 1

  config.train = ConfigDict()
  config.train.batch_size = 512  # global
  config.train.steps = placeholder(int)  # either steps
  config.train.epochs = placeholder(float)  # or epochs
  config.train.log_every = 50  # steps
  # Parts that a batch passes in, one after the other: the gradient of the
  # whole batch in the memory of one part.
  config.train.accumulate_steps = 1
  # Of the moving average of the parameters, which evaluation then uses;
  # officially 0.9999 in fine-tuning. Empty for none.
  config.train.ema_decay = placeholder(float)
  # A step whose loss or gradient is not finite is not applied. After so many
  # in a row the run stops.
  config.train.max_skipped = 10

  # docs/optimisation.md compares these with the official recipe.
  config.optim = ConfigDict()
  config.optim.algorithm = "adamw"  # or bert_adam: no bias correction
  config.optim.lr = 1e-4  # peak, after the warm-up
  # linear (from peak / W up, then down to 0), constant (after the warm-up),
  # official_linear, official_constant (whose first update has rate 0).
  config.optim.schedule = "linear"
  config.optim.warmup_fraction = 0.1  # W, as a share of all steps
  config.optim.warmup_steps = placeholder(int)  # W itself, instead
  # From each of these on the rate is milestone_factor times as high.
  config.optim.milestones = ()
  config.optim.milestone_unit = "epochs"  # or steps
  config.optim.milestone_factor = 0.1
  # Pairs of a regular expression, searched in the paths of the parameters,
  # and a multiplier of their rate; the first match wins, 0 freezes:
  # --config.optim.rate_groups="(('region_encoder/', 0.1), ('embed', 0))".
  config.optim.rate_groups = ()
  # Of the rate, per layer away from the heads; 1 for none.
  config.optim.layer_decay = 1.0
  config.optim.weight_decay = 0.01
  config.optim.decay_on = "matrices"  # or, officially, biases_and_norms
  config.optim.clip = "global"  # norm of all gradients; per_parameter, none
  config.optim.clip_norm = 1.0
  config.optim.b1 = 0.9
  config.optim.b2 = 0.999
  config.optim.eps = 1e-6

  config.parallel = ConfigDict()
  config.parallel.mode = "jit"  # or pmap
  # replicated, zero1 (optimiser state over the devices), fsdp (all of it).
  config.parallel.sharding = "replicated"

  config.checkpoint = ConfigDict()
  config.checkpoint.save_every = 1000  # steps
  config.checkpoint.keep_latest = 2  # how many of the newest steps
  # The best step by this evaluation metric is kept too; empty for none.
  config.checkpoint.best_metric = "val/loss"
  config.checkpoint.best_mode = "min"

  config.evals = ConfigDict()
  config.evals.every = 1000  # steps; 0 for the end only
  config.evals.split = "val"  # of the annotations
  config.evals.batch_size = 512  # of the held-out losses, global
  # Zero-shot retrieval over the first images of the split; 0 for none.
  config.evals.retrieval_images = 100
  config.evals.pairs_per_step = 512  # pairs scored at once, over all devices
  return config
