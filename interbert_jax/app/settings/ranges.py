"""What a number of a configuration may be, where no function refuses it.

A rule that belongs to a function (how a batch is divided, how long a warm-up
may be) stands there; interbert_jax/app/settings/validate.py asks that function.
"""

import dataclasses
import math
from typing import Any


@dataclasses.dataclass(frozen=True)
class Range:
  """Numbers from low to high, in words; `open` leaves out low or high."""

  words: str
  low: float = -math.inf
  high: float = math.inf
  open: tuple[str, ...] = ()

  def holds(self, value: float) -> bool:
    above = value > self.low if "low" in self.open else value >= self.low
    below = value < self.high if "high" in self.open else value <= self.high
    return above and below


ANY = Range("a number")
FROM_0 = Range("0 or more", low=0)
FROM_1 = Range("1 or more", low=1)
ABOVE_0 = Range("more than 0", low=0, open=("low",))
SHARE = Range("0 to 1", low=0, high=1)
BELOW_1 = Range("0 or more, and less than 1", low=0, high=1, open=("high",))
FROM_MINUS_1 = Range("-1 or more", low=-1)
# More would be no number of steps.
EPOCHS = Range("more than 0, up to 1e9", low=0, high=1e9, open=("low",))
STATUS = Range("0 to 255", low=0, high=255)
# JAX takes more bits, and makes one key of seeds that differ in those alone.
SEED = Range("0 to 2**32 - 1", low=0, high=2**32 - 1)

# Of a tuple, every number; ANY where a function of its own looks at it.
RANGES: dict[str, Range] = {
  "seed": SEED,
  "resume_step": FROM_0,
  "init.layers": FROM_MINUS_1,
  "init.region_layers": FROM_MINUS_1,
  "model.vocab_size": FROM_1,
  "model.region_feature_dim": FROM_1,
  "model.num_region_classes": FROM_1,
  "model.hidden_size": FROM_1,
  "model.num_interaction_layers": FROM_0,
  "model.num_text_layers": FROM_0,
  "model.num_region_layers": FROM_0,
  "model.num_heads": FROM_1,
  "model.region_num_heads": FROM_1,
  "model.mlp_dim": FROM_1,
  "model.region_mlp_dim": FROM_1,
  "model.max_position_embeddings": FROM_1,
  "model.type_vocab_size": FROM_1,
  "model.pooler_dim": FROM_1,
  "model.hidden_dropout": BELOW_1,
  "model.attention_dropout": BELOW_1,
  "model.region_hidden_dropout": BELOW_1,
  "model.region_attention_dropout": BELOW_1,
  "model.pooled_dropout": BELOW_1,
  "model.initializer_range": ABOVE_0,
  "task.text_masking.rate": SHARE,
  "task.text_masking.segment_length_probs": SHARE,
  "task.text_masking.mask_prob": SHARE,
  "task.text_masking.random_prob": SHARE,
  "task.region_masking.rate": SHARE,
  "task.region_masking.min_iou": SHARE,
  "task.region_masking.zero_prob": SHARE,
  "task.mlm_weight": FROM_0,
  "task.mrm_weight": FROM_0,
  "task.itm_weight": FROM_0,
  "task.mrm_feature_weight": FROM_0,
  "task.group_size": FROM_1,
  "task.mlm_rows": ABOVE_0,
  "task.mrm_rows": ABOVE_0,
  "task.margin": FROM_0,
  "task.hardest": ANY,
  "input.captions.captions_per_image": FROM_1,
  "input.max_regions": FROM_1,
  "input.max_text_length": ANY,
  "input.max_answer_length": ANY,
  "input.mismatch_prob": SHARE,
  "input.hard_negative_prob": SHARE,
  "input.cache_bytes": FROM_0,
  "input.shares": FROM_1,
  "input.random_texts": FROM_0,
  "input.hard_texts": FROM_0,
  "input.random_images": FROM_0,
  "input.min_answer_count": FROM_1,
  "train.batch_size": FROM_1,
  "train.steps": FROM_1,
  "train.epochs": EPOCHS,
  "train.log_every": FROM_1,
  "train.accumulate_steps": FROM_1,
  "train.ema_decay": ANY,
  "train.max_skipped": ANY,
  "train.watchdog_seconds": FROM_0,
  "train.preempt_exit_code": STATUS,
  "optim.lr": ABOVE_0,
  "optim.warmup_fraction": ANY,
  "optim.warmup_steps": ANY,
  "optim.milestones": ANY,
  "optim.milestone_factor": ABOVE_0,
  "optim.layer_decay": ANY,
  "optim.weight_decay": FROM_0,
  "optim.clip_norm": ANY,
  "optim.b1": BELOW_1,
  "optim.b2": BELOW_1,
  "optim.eps": FROM_0,
  "checkpoint.save_every": FROM_1,
  "checkpoint.keep_latest": FROM_1,
  "evals.every": FROM_0,
  "evals.batch_size": FROM_1,
  "evals.retrieval_images": FROM_0,
  "evals.pairs_per_step": FROM_1,
}


def out_of_range(key: str, value: Any) -> str:
  """What is wrong with a number, or the numbers of a tuple; empty for nothing.

  Keys without a range may be any number that is finite.
  """
  if isinstance(value, bool):
    return ""
  wanted = RANGES.get(key, ANY)
  for number in value if isinstance(value, tuple) else (value,):
    if isinstance(number, bool) or not isinstance(number, (int, float)):
      if isinstance(value, tuple) and key in RANGES:
        return f"{key} is {value!r}; wanted numbers alone"
      continue
    if isinstance(number, float) and not math.isfinite(number):
      return f"{key} is {value}; wanted {wanted.words}"
    if not wanted.holds(number):
      return f"{key} is {value}; wanted {wanted.words}"
  return ""
