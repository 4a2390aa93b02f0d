"""Whether a checkpoint is one of this configuration and this software."""

from collections.abc import Mapping
from typing import Any

import jax

from interbert_jax.contract.errors import CheckpointError

_SHOWN_PROBLEMS = 20  # of the differences between two trees


def _shapes(tree) -> dict[str, tuple]:
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
    for path, leaf in leaves
  }


def shape_differences(saved, wanted) -> list[str]:
  """Every parameter that is missing, surplus or of another shape."""
  return differences(_shapes(saved), _shapes(wanted))


def differences(
  saved: Mapping[str, tuple], wanted: Mapping[str, tuple]
) -> list[str]:
  """The same for shapes by name."""
  problems = [f"missing: {k} {v}" for k, v in wanted.items() if k not in saved]
  problems += [f"surplus: {k} {v}" for k, v in saved.items() if k not in wanted]
  problems += [
    f"misshapen: {k} is {saved[k]}, wanted {v}"
    for k, v in wanted.items()
    if k in saved and saved[k] != v
  ]
  return problems


def check_items(
  checkpoint: str, saved: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
  """Refuses a step that another configuration has saved.

  Args:
    checkpoint: for messages.
    saved: shapes of the items params, train and, with a moving average, ema.
    wanted: those of this run.
  """
  problems = shape_differences(saved["params"], wanted["params"])
  hint = "the model"
  if not problems and ("ema" in saved) != ("ema" in wanted):
    with_it = "ema" in saved
    problems = [
      f"item ema (the moving average): {'there' if with_it else 'missing'}, "
      f"and train.ema_decay is {'not set' if with_it else 'set'}"
    ]
    hint = "train.ema_decay"
  if not problems:
    problems = shape_differences(saved["train"], wanted["train"])
    hint = "optim.algorithm and the patterns of optim.rate_groups that freeze"
  if problems:
    shown = problems[:_SHOWN_PROBLEMS]
    if len(problems) > len(shown):
      shown.append(f"and {len(problems) - len(shown)} more")
    raise CheckpointError(
      f"{checkpoint} was saved by another configuration ({hint}):\n  "
      + "\n  ".join(shown)
      + "\nuse another --workdir, or the configuration it was made with"
    )


def different_versions(saved, here) -> tuple[str, str]:
  """The versions that are not the same, of both."""
  names = [n for n in sorted({*saved, *here}) if saved.get(n) != here.get(n)]
  said = [
    ", ".join(f"{name} {known.get(name, 'unknown')}" for name in names)
    for known in (saved, here)
  ]
  return said[0], said[1]
