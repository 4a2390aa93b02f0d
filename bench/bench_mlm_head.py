"""Side by side: where the code differs from the plain way for speed's sake.

  python -m bench.bench_mlm_head

Each row is computed at the quick start's sizes, plainly and as the code has it,
in turns; the ratio of the medians is what comments in heads.py and losses.py
rest on. Measured on two busy cores of an AMD EPYC: 1.31 and 10.4.
"""

import statistics
import time

import jax
import jax.numpy as jnp

from bench.measuring import in_turns, make_parser
from interbert_jax.tasks.losses import accuracy, cross_entropy

N, D, V = 160, 64, 30522


def compare(name, plain, ours, *args, repeats: int = 30) -> None:
  def run(fn):
    compiled = jax.jit(fn)
    return lambda: jax.block_until_ready(compiled(*args))

  ways = {"plain": run(plain), "ours": run(ours)}
  seconds = in_turns(ways, repeats, time.perf_counter)
  a, b = (1000 * statistics.median(seconds[way]) for way in ways)
  print(f"{name:36s} plain {a:6.1f} ms   ours {b:6.1f} ms   ratio {a / b:.2f}")


def main() -> None:
  make_parser(__doc__, output=False).parse_args()
  keys = jax.random.split(jax.random.key(0), 3)
  hidden = jax.random.normal(keys[0], (1, N, D))
  words = jax.random.normal(keys[1], (V, D))
  labels = jax.random.randint(keys[2], (1, N), 0, V)
  weights = jnp.ones((1, N))
  bias = jnp.zeros(V)

  def logits(hidden, words):
    return jnp.einsum("gnd,vd->gnv", hidden, words)

  def loss(scores):
    return cross_entropy(scores, labels, weights)[0]

  def outer(hidden, words, bias):
    return loss(logits(hidden, words) + jnp.einsum("gn,v->gnv", weights, bias))

  everything = (0, 1, 2)
  compare(
    "gradient, bias added / outer product",
    jax.grad(lambda h, w, b: loss(logits(h, w) + b), argnums=everything),
    jax.grad(outer, argnums=everything),
    hidden,
    words,
    bias,
  )
  compare(
    "accuracy, argmax / maximum",
    lambda scores: jnp.mean(jnp.argmax(scores, -1) == labels),
    lambda scores: accuracy(scores, labels, weights)[0],
    logits(hidden, words),
  )


if __name__ == "__main__":
  main()
