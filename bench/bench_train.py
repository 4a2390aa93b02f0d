"""Our training step beside that of a modern PyTorch of the same model.

  pip install torch
  python -m bench.bench_train --output=docs/train_speed.json

Both train on the same batches, whose texts are as long as COCO's captions: ours
cut by length (input_pipeline/batches/lengths.py), PyTorch's at the longest text
of each batch. Dropout is off. They take turns in a shuffled order, and the
first step of a turn is not timed: whoever follows another framework pays for
its caches. Our step makes the masks too; PyTorch gets them ready-made.
"""

import collections
import functools
import os
import random
import statistics
import time

import jax
import numpy as np

from bench.measuring import make_parser, write_result
from configs import pretrain_en, quickstart
from input_pipeline.batches.lengths import LengthOrder
from interbert_jax.app.build import make_task
from interbert_jax.app.compile import ASSUMED, coco_lengths
from interbert_jax.app.validate import validate
from interbert_jax.contract.batch import dummy_batch
from interbert_jax.parallel import make_parallel
from interbert_jax.training.steps import make_program

_BATCHES = 8  # different ones


def base_width():
  """The base model with two layers in each stack, as two cores can train."""
  config = pretrain_en.get_config()
  for stream in ("interaction", "text", "region"):
    config.model[f"num_{stream}_layers"] = 2
  config.model.dtype = "float32"
  config.train.batch_size = 32
  for name in config.model:
    if name.endswith("dropout"):
      config.model[name] = 0.0
  return config, {"num_classes": 1601}


def quick_start():
  return quickstart.get_config(), {"num_classes": 1000}


SIZES = {"base width, 2+2+2 layers": base_width, "quick start": quick_start}


def make_batches(task, dims, batch_size: int, order: LengthOrder, lengths):
  batches = []
  for step in range(_BATCHES):
    position, parts = order.batch(step)
    batch = dummy_batch(
      task.batch_spec,
      dims={**dims, "B": batch_size},
      vocab_size=task.config.vocab_size,
      seed=step,
    )
    length = lengths[position % len(lengths)]
    rng = np.random.default_rng(step)
    ids = rng.integers(5, task.config.vocab_size, batch["text_ids"].shape)
    ids[np.arange(ids.shape[1]) >= length[:, None]] = 0
    batch |= {
      "text_ids": np.int32(ids),
      "text_length": np.int32(length),
      "num_regions": np.full_like(batch["num_regions"], dims["R"]),
      "position": np.int32(position),
    }
    batches.append((batch, parts))
  return batches


def compare(name: str, *, turns: int, steps: int) -> dict:
  import torch

  from bench.torch_interbert import TorchInterBert, prepare

  config, info = SIZES[name]()
  settings = validate(config, devices=1, hosts=1)
  info = {**ASSUMED, "vocab_size": 30522, **info}
  task = make_task(settings, info)
  batch_size = settings.train.batch_size
  dims = {
    "L": settings.input.max_text_length,
    "R": settings.input.max_regions,
    "E": info["feature_dim"],
    "C": info["num_classes"],
  }
  lengths = np.minimum(coco_lengths(1 << 16), dims["L"])
  order = LengthOrder(
    lambda position: position % len(lengths),
    lambda examples, position: lengths[examples],
    batch_size=batch_size,
    group_size=batch_size,
    max_length=dims["L"],
  )
  batches = make_batches(task, dims, batch_size, order, lengths)
  parallel = make_parallel(devices=jax.devices()[:1])
  program = make_program(
    task, settings, parallel, dims=dims, num_examples=10**6
  )
  state = parallel.init(program.init_fn)
  compiled: dict = {}
  placed = [(parallel.put(batch), parts) for batch, parts in batches]

  model = TorchInterBert(task.config)
  ours, others = (
    sum(x.size for x in jax.tree.leaves(program.param_shapes)),
    sum(x.numel() for x in model.parameters()),
  )
  if ours != others:
    raise RuntimeError(f"{others:,} parameters in PyTorch, {ours:,} in ours")
  optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
  theirs = []
  for batch, parts in batches:
    inputs = task.prepare(batch, program.step_key, train=True, parts=parts)
    longest = int(batch["text_length"].max())
    theirs.append(prepare(inputs, text_length=longest))

  def our_step(number: int) -> None:
    nonlocal state
    batch, parts = placed[number % _BATCHES]
    if parts not in compiled:
      compiled[parts] = program.compiled_step(parallel, state, parts)
    state, metrics = compiled[parts](state, batch, program.step_key)
    jax.block_until_ready(metrics)

  def their_step(number: int) -> None:
    optimizer.zero_grad(set_to_none=True)
    model(theirs[number % _BATCHES]).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()

  ways = {"ours": our_step, "modern PyTorch": their_step}
  for way in ways.values():
    for number in range(_BATCHES):  # compiles every cut
      way(number)
  speed, cpu = collections.defaultdict(list), collections.defaultdict(list)
  draw = random.Random(0)  # nosec B311
  for _ in range(turns):
    for way in draw.sample(list(ways), len(ways)):
      ways[way](0)
      wall, used = time.perf_counter(), time.process_time()
      for number in range(steps):
        ways[way](number)
      examples = steps * batch_size
      speed[way].append(examples / (time.perf_counter() - wall))
      cpu[way].append((time.process_time() - used) / examples)
  median = {way: statistics.median(values) for way, values in speed.items()}
  return {
    "size": name,
    "batch_size": batch_size,
    "texts_of_a_group": [parts for _, parts in batches][0],
    "examples_per_second": {
      way: [min(values), median[way], max(values)]
      for way, values in speed.items()
    },
    "cpu_seconds_per_example": {
      way: statistics.median(values) for way, values in cpu.items()
    },
    "ratio": median["ours"] / median["modern PyTorch"],
  }


def main() -> None:
  parser = make_parser(__doc__, turns=7, steps=8)
  options = parser.parse_args()
  import torch

  run = functools.partial(compare, turns=options.turns, steps=options.steps)
  result = {
    "torch": torch.__version__,
    "jax": jax.__version__,
    "cores": os.cpu_count(),
    "sizes": [run(name) for name in SIZES],
  }
  write_result(result, options.output)


if __name__ == "__main__":
  main()
