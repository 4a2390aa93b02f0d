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
from interbert_jax.checkpoints.match import check_items, different_versions
from interbert_jax.contract.errors import CheckpointError
from interbert_jax.parallel import anywhere
from interbert_jax.run.environment import versions

log = logging.getLogger(__package__)
_SHOWN_FILES = 3  # of those that are damaged


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
      return ""
    shown = problems[:_SHOWN_FILES] or ["what another process has found"]
    more = len(problems) - len(shown)
    return f"{self.path} is damaged: {'; '.join(shown)}" + (
      f"; and {more} more" * (more > 0)
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
    meta = self._read(meta=args.JsonRestore())["meta"]
    if not isinstance(meta, dict):
      raise CheckpointError(
        f"{self.path}: meta is a {type(meta).__name__}, wanted an object"
      )
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
