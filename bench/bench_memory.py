"""Memory of a compiled training step: recomputation and accumulation.

  python -m bench.bench_memory

Nothing is run: the compiler says how much temporary memory a step takes. One
device; pretraining with dropout, 36 regions and 36 tokens. Measured on a CPU,
in MB: 558 plainly, 560 with remat=full and 618 with dots, which XLA for CPUs
undoes, and 169 in four parts.
"""

import functools
import time

import jax

from bench.measuring import make_parser
from interbert_jax.contract.batch import dummy_batch
from interbert_jax.model.config import make_config
from interbert_jax.tasks.pretrain import PretrainTask
from interbert_jax.tasks.settings import PretrainSettings
from interbert_jax.training import optim, steps
from interbert_jax.training.settings import OptimSettings

BATCH = 32
SETTINGS = [("none", 1), ("full", 1), ("dots", 1), ("none", 4)]


def compiled(remat: str, parts: int):
  config = make_config(
    "tiny",
    hidden_size=256,
    num_interaction_layers=4,
    num_text_layers=2,
    num_region_layers=2,
    mlp_dim=1024,
    region_mlp_dim=1024,
    vocab_size=1000,
    region_feature_dim=256,
    num_region_classes=100,
    remat=remat,
  )
  task = PretrainTask(config, PretrainSettings(group_size=8))
  dims = {"L": 36, "R": 36, "E": 256, "C": 100, "B": BATCH}
  batch = dummy_batch(dims=dims, vocab_size=1000)
  key = jax.random.key(0)
  params = jax.eval_shape(functools.partial(task.init, key, batch))
  tx = optim.make_optimizer(params, OptimSettings(), total_steps=10).tx
  state = jax.eval_shape(lambda params: steps.init_state(params, tx), params)
  step = functools.partial(
    steps.train_step, task=task, tx=tx, accumulate_steps=parts
  )
  return jax.jit(step, donate_argnums=0).lower(state, batch, key).compile()


def main():
  make_parser(__doc__, output=False).parse_args()
  print(jax.devices()[0].device_kind)
  print("remat  parts  temporary MB  compile s")
  for remat, parts in SETTINGS:
    began = time.monotonic()
    temporary = compiled(remat, parts).memory_analysis().temp_size_in_bytes
    seconds = time.monotonic() - began
    print(f"{remat:5}  {parts:5}  {temporary / 1e6:12.1f}  {seconds:9.1f}")


if __name__ == "__main__":
  main()
