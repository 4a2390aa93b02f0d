"""One step of a run on disk: read whole, or refused.

A step is refused when its files are damaged, or when another configuration has
saved it.
"""

import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp

from interbert_jax.checkpoints import manifest
from interbert_jax.checkpoints.params import (
  checked_meta,
  damage_message,
  other_step,
)
from interbert_jax.contract.errors import CheckpointError
from interbert_jax.parallel import anywhere
from interbert_jax.run.environment import versions

log = logging.getLogger(__package__)
_SHOWN_PROBLEMS = 20  # differences between two trees in a message


class StoredStep:
  """A finished step.

  Args:
    manager: of the directory of all steps.
    step: its number.
  """

  def __init__(self, manager: ocp.CheckpointManager, step: int):
    self._manager = manager
    self._step = step
    self.path = manager.directory / str(step)

  def damage(self) -> str:
    """What is wrong with the files, on any of the hosts; empty if nothing."""
    problems = manifest.damage(
      self.path, part=jax.process_index(), parts=jax.process_count()
    )
    if not anywhere(bool(problems)):
      # All processes read it, or none.
      meta = self._read(meta=ocp.args.JsonRestore())["meta"]
      return other_step(self.path, meta) if isinstance(meta, dict) else ""
    return damage_message(
      self.path, problems or ["what another process has found"]
    )

  def restore(
    self,
    template,
    wanted: Mapping[str, Any],
    check: Callable[[Mapping[str, Any]], None] | None,
  ) -> tuple[Any, dict[str, Any]]:
    """(state, meta).

    Args:
      template: a TrainState.
      wanted: shapes and shardings of its items.
      check: raises where `meta` speaks against going on with the step.

    Raises:
      CheckpointError: another configuration saved it, or Orbax cannot read it.
    """
    args = ocp.args
    meta = checked_meta(self.path, self._read(meta=args.JsonRestore())["meta"])
    if check is not None:
      check(meta)
    check_items(str(self.path), self._shapes(), wanted)
    if (written_by := meta.get("versions", {})) != versions():
      log.warning(
        "checkpoint %s was written by %s; this is %s",
        self.path,
        *different_versions(written_by, versions()),
      )
    items = self._read(
      **{name: args.StandardRestore(x) for name, x in wanted.items()}
    )
    state = template.replace(
      params=items["params"], ema=items.get("ema"), **items["train"]
    )
    return state, meta

  def _read(self, **items):
    with self._readable():
      return self._manager.restore(self._step, args=ocp.args.Composite(**items))

  @contextlib.contextmanager
  def _readable(self):
    """What Orbax says of a step that is whole and that it cannot read."""
    try:
      yield
    except Exception as error:  # of many types
      raise CheckpointError(
        f"{self.path}: Orbax cannot read it, though its files are as they were "
        f"written: {type(error).__name__}: {error}"
      ) from error

  def _shapes(self) -> dict[str, Any]:
    """The shapes of the items."""
    names = ["params", "train"]
    if (self.path / "ema").is_dir():
      names.append("ema")
    with self._readable():
      metadata = self._manager.item_metadata(self._step)
      return {name: metadata[name].tree for name in names}


def _leaf_shapes(tree) -> dict[str, tuple]:
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
    for path, leaf in leaves
  }


def shape_differences(saved, wanted) -> list[str]:
  """Every parameter that is missing, surplus or of another shape."""
  return differences(_leaf_shapes(saved), _leaf_shapes(wanted))


def differences(
  saved: Mapping[str, tuple], wanted: Mapping[str, tuple]
) -> list[str]:
  """Every shape by name that is missing, surplus or another one."""
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
  """The versions that differ, as the checkpoint has them and as here."""
  names = [n for n in sorted({*saved, *here}) if saved.get(n) != here.get(n)]

  def listed(known) -> str:
    return ", ".join(f"{name} {known.get(name, 'unknown')}" for name in names)

  return listed(saved), listed(here)
