"""How each parameter is trained: its rate, freezing and weight decay.

All of it depends on the path of a parameter, such as
encoder/text_encoder/layer_0/mlp_in/kernel. Trees of shapes will do.
"""

import difflib
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from interbert_jax.contract.errors import ConfigError
from interbert_jax.training.settings import OptimSettings, compile_group

_LAYER = re.compile(
  r"(?:^|/)(interaction|text|region)_encoder/layer_(\d+)(?:/|$)"
)
_EMBEDDINGS = re.compile(r"(?:^|/)(?:text|region)_embeddings/")


def map_paths(fn: Callable[..., Any], tree, *rest):
  """`fn(path, leaf, ...)` for every leaf, with its path as a string."""

  def named(path, *leaves):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    return fn(name, *leaves)

  return jax.tree_util.tree_map_with_path(named, tree, *rest)


def paths(tree) -> list[str]:
  return jax.tree.leaves(map_paths(lambda path, _: path, tree))


def zero_at(tree, names: Collection[str]):
  """The tree with zeros at these paths."""
  return map_paths(
    lambda path, x: jnp.zeros_like(x) if path in names else x, tree
  )


def decay_mask(params, decay_on: str):
  """True where weight decay applies.

  "matrices" are kernels and embeddings; "biases_and_norms" is all the rest,
  which the official scripts decay instead.
  """

  def decayed(path, _):
    is_matrix = path.rpartition("/")[2] in ("kernel", "embedding")
    return is_matrix == (decay_on == "matrices")

  return map_paths(decayed, params)


def _near(pattern: str, names: Sequence[str]) -> list[str]:
  """Paths, or beginnings of them, that are spelt most like the pattern."""
  parts = [name.split("/") for name in names]
  starts = {
    "/".join(part[:i]) for part in parts for i in range(1, len(part) + 1)
  }
  return difflib.get_close_matches(pattern, sorted(starts), n=3, cutoff=0.0)


def group_multipliers(
  names: Sequence[str], rate_groups: Sequence[tuple[str, float]]
) -> dict[str, float]:
  """path -> multiplier of the first pattern found in it, 1 without any."""
  groups = [compile_group(group) for group in rate_groups]
  first = {
    name: next((i for i, (p, _) in enumerate(groups) if p.search(name)), None)
    for name in names
  }
  for i, (pattern, _) in enumerate(groups):
    if i in first.values():
      continue
    if any(pattern.search(name) for name in names):
      raise ConfigError(
        f"optim.rate_groups: earlier patterns take every parameter that "
        f"{pattern.pattern!r} matches; the first match wins, so put it first"
      )
    raise ConfigError(
      f"optim.rate_groups: no parameter matches {pattern.pattern!r}; the "
      f"nearest paths are {_near(pattern.pattern, names)}"
    )
  return {name: 1.0 if i is None else groups[i][1] for name, i in first.items()}


def layers_below_heads(names: Sequence[str]) -> dict[str, int]:
  """path -> how many layers stand between it and the heads, plus one.

  0 for poolers and heads, 1 for the last layer of either stream. Interaction
  layers and then embeddings follow the longer stream.
  """
  layers = {name: _LAYER.search(name) for name in names}
  count = {"interaction": 0, "text": 0, "region": 0}
  for match in filter(None, layers.values()):
    stack, index = match[1], int(match[2])
    count[stack] = max(count[stack], index + 1)
  streams = max(count["text"], count["region"])

  def depth(name):
    if match := layers[name]:
      left = count[match[1]] - int(match[2])
      return left + streams * (match[1] == "interaction")
    if _EMBEDDINGS.search(name):
      return streams + count["interaction"] + 1
    return 0

  return {name: depth(name) for name in names}


def rate_multipliers(params, settings: OptimSettings) -> dict[str, float]:
  """path -> what its learning rate is multiplied with; 0 is frozen."""
  names = paths(params)
  groups = group_multipliers(names, settings.rate_groups)
  depths = layers_below_heads(names)
  multipliers = {
    name: groups[name] * settings.layer_decay ** depths[name] for name in names
  }
  if not any(multipliers.values()):
    raise ConfigError("optim.rate_groups freezes every parameter")
  return multipliers
