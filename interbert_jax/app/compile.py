"""main.py --mode=compile: the training step for TPUs that are not here.

Needs TPU's compiler, which is in libtpu, and neither a TPU nor data.
"""

import dataclasses
import functools
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from configs.common import Experiment
from input_pipeline.batches.lengths import Limits, choose_parts
from interbert_jax.contract.batch_sizes import Parts
from interbert_jax.contract.errors import ConfigError, UserError
from interbert_jax.contract.vcr import CHOICES
from interbert_jax.model.config import InterBertConfig


@dataclasses.dataclass(frozen=True)
class Chip:
  """Facts of a TPU chip (Cloud TPU's pages of its versions)."""

  memory_gb: float  # 10 ** 9 bytes
  peak_tflops: float  # bfloat16
  clock_ghz: float  # of the matrix units, in which estimates count


# Of a v4 each of the two cores counts as one: hardware joins them to a device,
# the compiler alone does not.
CHIPS = {
  "v4": Chip(16 * 1.0737, 137.5, 1.05),
  "v5e": Chip(16 * 1.0737, 197, 1.5),
  "v5p": Chip(95 * 1.0737, 459, 1.75),
  "v6e": Chip(32 * 1.0737, 918, 1.75),
}

# What data says of itself; here there is none.
ASSUMED = {
  "feature_dim": 2048,
  "num_classes": 1601,
  "mask_id": 103,
  "feature_encoding": "float16",
  "num_labels": 3,
  "label_names": ("entailment", "neutral", "contradiction"),
  "num_answers": 3129,
}
_WORDS = {"en": 30522, "zh": 21128}  # of the published vocabularies
# Shares of COCO's captions (of its dev set, BERT's vocabulary) with at most so
# many tokens; longer ones are cut at 36.
_COCO = {
  8: 0.0,
  10: 0.041,
  12: 0.342,
  14: 0.675,
  16: 0.868,
  18: 0.945,
  20: 0.976,
  22: 0.988,
  24: 0.992,
  28: 0.997,
  32: 0.998,
  36: 1.0,
}
_CAPTIONS = ("pretrain", "retrieval")  # tasks whose texts are such captions
# Of a pair of COCO: pieces that segments hide, and regions.
_MASKED = {"masked_tokens": 3.0, "masked_regions": 5.1}
_NUM_EXAMPLES = 1_000_000  # for schedules in epochs


def run_compile(config: Mapping[str, Any], topology: str) -> dict[str, Any]:
  """Compiles the step of a configuration.

  Returns:
    What the compiler says, as JSON.

  Raises:
    UserError: there is no compiler or no such topology, or the step needs more
      memory than a chip has.
  """
  chip, devices = find_topology(topology)
  import jax

  from interbert_jax.app import hlo
  from interbert_jax.app.validate import validate
  from interbert_jax.model.flops import useful_flops
  from interbert_jax.training.settings import RANDOM

  # No weights are read; rates that suit them are as good for any others.
  config = ConfigDict(config)
  config.init_from = RANDOM
  settings = validate(config, devices=len(devices), hosts=1)
  batch_size = settings.train.batch_size
  per_chip = batch_size / len(devices)
  print(
    f"{topology}: compiling for {len(devices)} chips, {per_chip:g} examples "
    "each; a base model takes some minutes",
    file=sys.stderr,
  )
  began = time.monotonic()
  try:
    step = lower_step(settings, devices)
    compiled = step.lowered.compile()
  except jax.errors.JaxRuntimeError as error:
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    words = str(error).partition("RESOURCE_EXHAUSTED")[2].splitlines()[0]
    raise UserError(
      f"{topology}: {per_chip:g} examples a chip need more memory than its "
      f"{chip.memory_gb:.0f} GB{words}\n"
      "  lower train.batch_size, raise train.accumulate_steps, set "
      "model.remat=dots or full, or parallel.sharding=zero1 or fsdp, or take "
      "more chips"
    ) from None
  seconds = time.monotonic() - began
  memory, text = compiled.memory_analysis(), compiled.as_text()
  total = (
    memory.argument_size_in_bytes
    + memory.output_size_in_bytes
    - memory.alias_size_in_bytes
    + memory.temp_size_in_bytes
  )
  flops = compiled.cost_analysis()["flops"]
  by_part = hlo.cycles_by_part(text)
  cycles = sum(by_part.values())
  duration = cycles / chip.clock_ghz / 1e9
  useful = None
  if settings.task.name == "pretrain":
    tokens = np.minimum(coco_lengths(1 << 16), step.dims["L"]).mean()
    regions = step.dims["R"] + 1
    useful = useful_flops(step.model, tokens=tokens, regions=regions, **_MASKED)
  return {
    "topology": topology,
    "chips": len(devices),
    "batch_size": batch_size,
    "examples_per_chip": per_chip,
    "sharding": settings.parallel.sharding,
    "mode": settings.parallel.mode,
    "remat": settings.model.remat,
    "accumulate_steps": settings.train.accumulate_steps,
    "parameters": step.num_params,
    "memory_gb": {
      "state_and_batch": memory.argument_size_in_bytes / 1e9,
      "temporary": memory.temp_size_in_bytes / 1e9,
      "total": total / 1e9,
      "of_the_chip": chip.memory_gb,
    },
    "fits": total / 1e9 <= chip.memory_gb,
    "gflops_per_example": flops / per_chip / 1e9,
    "useful_gflops_per_example": useful and useful / 1e9,
    "estimate": {
      "mcycles": cycles / 1e6,
      "milliseconds": duration * 1e3,
      "examples_per_second_and_chip": per_chip / duration,
      "share_of_peak": flops / duration / chip.peak_tflops / 1e12,
      "useful_share_of_peak": useful
      and useful * per_chip / duration / chip.peak_tflops / 1e12,
      "percent_by_part": {
        part: round(100 * count / cycles, 1)
        for part, count in by_part.most_common()
      },
    },
    "collectives": hlo.collectives(text),
    "compile_seconds": seconds,
    "dimensions": step.dims,
    "texts_of_a_group": step.parts and [x._asdict() for x in step.parts],
  }


class LoweredStep(NamedTuple):
  """A training step before optimisation.

  Attributes:
    lowered: has the count of operations.
    dims: the size of each letter of the batch's arrays but B.
    parts: how its groups are cut.
    num_params: of the model.
    model: its shape.
  """

  lowered: Any
  dims: dict[str, int]
  parts: Parts
  num_params: int
  model: InterBertConfig


def lower_step(settings: Experiment, devices: Sequence) -> LoweredStep:
  """The step of a run on data that is not there."""
  import jax

  from interbert_jax.app import build
  from interbert_jax.parallel import make_parallel
  from interbert_jax.training.steps import abstract_batch, make_program

  section, name = settings.input, settings.task.name
  texts = images = 1
  if name == "retrieval":
    texts += section.random_texts + section.hard_texts
    images += section.random_images
  elif name == "vcr":
    texts = CHOICES
  elif name == "nlvr2":
    images = 2
  info = {**ASSUMED, "images_per_example": images}
  info["vocab_size"] = _WORDS[settings.language]
  for key, width in (
    ("vocab_size", settings.model.vocab_size),
    ("feature_dim", settings.model.region_feature_dim),
    ("num_classes", settings.model.num_region_classes),
  ):
    info[key] = info[key] if width is None else width
  task = build.make_task(settings, info)
  reads_classes = getattr(settings.task, "mrm_loss", "features") != "features"
  dims = {
    "L": section.text_slots,
    "R": getattr(section, "max_regions", 1),  # not of texts alone
    "E": info["feature_dim"],
    "C": info["num_classes"] if reads_classes else 1,
    "T": texts,
    "I": images,
  }
  parallel = make_parallel(**vars(settings.parallel), devices=devices)
  program = make_program(
    task, settings, parallel, dims=dims, num_examples=_NUM_EXAMPLES
  )
  batch_size, parts = settings.train.batch_size, None
  if name in _CAPTIONS:
    parts = assumed_parts(batch_size, program.group_size, dims["L"])
  lowered = parallel.lower_train_step(
    functools.partial(program.step_fn, parts=parts),
    program.init_fn,
    abstract_batch(task, dims=dims, batch_size=batch_size),
  )
  num_params = sum(x.size for x in jax.tree.leaves(program.param_shapes))
  return LoweredStep(lowered, dims, parts, num_params, task.config)


def assumed_parts(batch_size: int, group_size: int, text_slots: int) -> Parts:
  """How batches of captions as long as COCO's are cut."""
  count = max(1, (1 << 18) // batch_size) * batch_size
  sizes = np.zeros((count, 2), int)  # all images have as many regions
  sizes[:, 0] = np.minimum(coco_lengths(count), text_slots)
  return choose_parts(
    sizes.reshape(-1, batch_size, 2),
    group_size=group_size,
    limits=Limits(text_slots),
  )


def coco_lengths(count: int) -> np.ndarray:
  """Tokens of made-up captions that are as long as COCO's."""
  shares = np.random.default_rng(0).random(count)
  lengths = np.interp(shares, list(_COCO.values()), list(_COCO))
  return np.ceil(lengths).astype(np.int64)


def find_topology(name: str) -> tuple[Chip, list]:
  """The chip and the devices of a topology such as v5e:4x4."""
  chip = CHIPS.get(name.partition(":")[0])
  if chip is None:
    raise ConfigError(
      f"--topology={name}: wanted one of {', '.join(CHIPS)} and its chips, "
      "such as v5e:4x4 or v5p:2x2x2"
    )
  # libtpu asks its surroundings for the chips that it is to find.
  for key, value in (
    ("JAX_PLATFORMS", "cpu"),
    ("TPU_SKIP_MDS_QUERY", "1"),
    ("TPU_ACCELERATOR_TYPE", "v5litepod-4"),
    ("TPU_WORKER_HOSTNAMES", "localhost"),
    ("TPU_WORKER_ID", "0"),
    ("TPU_LOG_DIR", "disabled"),
    ("ALLOW_MULTIPLE_LIBTPU_LOAD", "1"),
  ):
    os.environ.setdefault(key, value)
  from jax.experimental import topologies

  options = {}
  if set(name.partition(":")[2]) == set("1x"):  # not one of a host's four
    options["chips_per_host_bounds"] = [1, 1, 1]
  try:
    found = topologies.get_topology_desc(
      platform="tpu", topology_name=name, **options
    )
  except Exception as error:
    said = str(error).partition("\n")[0]
    if "libtpu" in said or "PJRT_Api" in said or "not known" in said:
      raise UserError(
        "--mode=compile needs TPU's compiler, which runs on any Linux: "
        f'pip install "jax[tpu]" ({said})'
      ) from None
    raise ConfigError(f"--topology={name}: {said}") from None
  return chip, list(found.devices)
