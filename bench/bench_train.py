"""Our training step beside that of a modern PyTorch of the same model.

  pip install torch
  python -m bench.bench_train --output=docs/train_speed.json

On two CPU cores at the width of the base model and at quick-start size, without
dropout; on a GPU the base model in bfloat16 with its dropout. Both train on the
same batches, whose texts are as long as COCO's captions: ours cut by length
(input_pipeline/batches/lengths.py), PyTorch's at the longest text of each
batch, or in chunks of similar length. They take turns in a shuffled order, and
the first step of a turn is not timed: whoever follows another framework pays
for its caches. Our step makes the masks too; PyTorch gets them ready-made.
"""

import collections
import functools
import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

# Two frameworks share a GPU here.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp
import numpy as np

from bench.measuring import make_parser, write_result
from configs import pretrain_en, quickstart
from input_pipeline.batches.lengths import LengthOrder, Limits
from interbert_jax.app.build import make_task
from interbert_jax.app.compile import ASSUMED, coco_lengths
from interbert_jax.app.validate import validate
from interbert_jax.contract.batch import dummy_batch
from interbert_jax.contract.batch_sizes import Parts
from interbert_jax.model.flops import useful_flops
from interbert_jax.parallel import Parallel, make_parallel
from interbert_jax.tasks.base import Task
from interbert_jax.training.steps import Program, make_program

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


def base():
  return pretrain_en.get_config(), {}


class Size(NamedTuple):
  """What is trained, on what, and in how many chunks PyTorch tries it."""

  config: Callable
  chunks: Sequence[int]
  on_gpu: bool = False


SIZES = {
  "base width, 2+2+2 layers": Size(base_width, (1, 2)),
  "quick start": Size(quick_start, (1, 2)),
  "base": Size(base, (1, 4), on_gpu=True),
}


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


class Problem(NamedTuple):
  """A program and batches for it."""

  task: Task
  program: Program
  parallel: Parallel
  batches: Sequence[tuple[dict, Parts]]
  dims: dict[str, int]
  batch_size: int


def make_problem(size: Size) -> Problem:
  config, info = size.config()
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
    lambda examples, position: np.stack(
      [lengths[examples], np.full(len(examples), dims["R"])], axis=1
    ),
    batch_size=batch_size,
    group_size=batch_size,
    limits=Limits(dims["L"], dims["R"]),
  )
  batches = make_batches(task, dims, batch_size, order, lengths)
  parallel = make_parallel(devices=jax.devices()[:1])
  program = make_program(
    task, settings, parallel, dims=dims, num_examples=10**6
  )
  return Problem(task, program, parallel, batches, dims, batch_size)


def compare(name: str, *, turns: int, steps: int) -> dict:
  size = SIZES[name]
  task, program, parallel, batches, dims, batch_size = make_problem(size)
  prepared = [
    task.prepare(batch, program.step_key, train=True, parts=parts)
    for batch, parts in batches
  ]
  ways = {"ours": OurTraining(program, parallel, batches)}
  params = sum(x.size for x in jax.tree.leaves(program.param_shapes))
  for chunks in size.chunks:
    way = f"PyTorch, {chunks} chunks" if chunks > 1 else "PyTorch"
    ways[way] = training = TorchTraining(task.config, prepared, chunks)
    if training.num_params != params:
      raise RuntimeError(
        f"{training.num_params:,} parameters in PyTorch, {params:,} in ours"
      )
  for training in ways.values():
    for number in range(_BATCHES):  # compiles every shape
      training.step(number)
    training.wait()
  speed, cpu = collections.defaultdict(list), collections.defaultdict(list)
  draw = random.Random(0)  # nosec B311
  for _ in range(turns):
    for way in draw.sample(list(ways), len(ways)):
      training = ways[way]
      training.step(0)
      training.wait()
      wall, used = time.perf_counter(), time.process_time()
      for number in range(steps):
        training.step(number)
      training.wait()
      examples = steps * batch_size
      speed[way].append(examples / (time.perf_counter() - wall))
      cpu[way].append((time.process_time() - used) / examples)
  median = {way: statistics.median(values) for way, values in speed.items()}
  masked = [task.weights(inputs) for inputs in prepared]
  flops = useful_flops(
    task.config,
    tokens=float(np.mean([batch["text_length"] for batch, _ in batches])),
    regions=dims["R"] + 1,
    masked_tokens=mean(x["mlm_loss"] for x in masked) / batch_size,
    masked_regions=mean(x["mrm_loss"] for x in masked) / batch_size,
  )
  return {
    "size": name,
    "batch_size": batch_size,
    "texts_of_a_group": [parts for _, parts in batches][0],
    "useful_gflops_per_example": flops / 1e9,
    "examples_per_second": {
      way: [min(values), median[way], max(values)]
      for way, values in speed.items()
    },
    "useful_tflops_per_second": {
      way: value * flops / 1e12 for way, value in median.items()
    },
    "cpu_seconds_per_example": {
      way: statistics.median(values) for way, values in cpu.items()
    },
    "ratio_to_the_faster_pytorch": median["ours"]
    / max(value for way, value in median.items() if way != "ours"),
  }


def mean(values) -> float:
  return statistics.mean(map(float, values))


class OurTraining:
  """Takes steps on batches that are on the device."""

  def __init__(self, program, parallel, batches):
    self._program, self._parallel = program, parallel
    self._state = parallel.init(program.init_fn)
    self._batches = [(parallel.put(batch), parts) for batch, parts in batches]
    self._compiled: dict = {}

  def step(self, number: int) -> None:
    batch, parts = self._batches[number % _BATCHES]
    if parts not in self._compiled:
      self._compiled[parts] = self._program.compiled_step(
        self._parallel, self._state, parts
      )
    self._state, _ = self._compiled[parts](
      self._state, batch, self._program.step_key
    )

  def wait(self) -> None:
    jax.block_until_ready(self._state)


class TorchTraining:
  """The same in PyTorch: on a GPU in bfloat16, with compiled layers."""

  def __init__(self, config, prepared, chunks: int):
    import torch

    from bench.torch_interbert import Layer, TorchInterBert, prepare

    self._on_gpu = jax.default_backend() == "gpu"
    device = "cuda" if self._on_gpu else "cpu"
    self._model = TorchInterBert(config).to(device)
    if self._on_gpu:
      torch._dynamo.config.recompile_limit = 64  # layers by lengths
      for module in self._model.modules():
        if isinstance(module, Layer):
          module.compile()
    self._optimizer = torch.optim.AdamW(
      self._model.parameters(), lr=1e-4, fused=True
    )
    self._batches = [
      prepare(inputs, chunks=chunks, device=device) for inputs in prepared
    ]

  @property
  def num_params(self) -> int:
    return sum(x.numel() for x in self._model.parameters())

  def step(self, number: int) -> None:
    import torch

    self._optimizer.zero_grad(set_to_none=True)
    for chunk in self._batches[number % _BATCHES]:
      with torch.autocast("cuda", torch.bfloat16, enabled=self._on_gpu):
        loss = self._model(chunk)
      loss.backward()
    torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
    self._optimizer.step()

  def wait(self) -> None:
    if self._on_gpu:
      import torch

      torch.cuda.synchronize()


def product_tflops(size: int = 8192, repeats: int = 50) -> float:
  """What large products of bfloat16 matrices reach."""
  a, b = jax.random.normal(jax.random.key(0), (2, size, size), jnp.bfloat16)
  multiply = jax.jit(jnp.matmul)
  jax.block_until_ready(multiply(a, b))
  began = time.perf_counter()
  for _ in range(repeats):
    out = multiply(a, b)
  out.block_until_ready()
  return repeats * 2 * size**3 / (time.perf_counter() - began) / 1e12


def main() -> None:
  parser = make_parser(__doc__, turns=7, steps=8)
  options = parser.parse_args()
  import torch

  run = functools.partial(compare, turns=options.turns, steps=options.steps)
  on_gpu = jax.default_backend() == "gpu"
  result = {
    "torch": torch.__version__,
    "jax": jax.__version__,
    "device": jax.devices()[0].device_kind,
    "cores": os.cpu_count(),
    **({"product_tflops": product_tflops()} if on_gpu else {}),
    "sizes": [run(name) for name, x in SIZES.items() if x.on_gpu == on_gpu],
  }
  write_result(result, options.output)


if __name__ == "__main__":
  main()
