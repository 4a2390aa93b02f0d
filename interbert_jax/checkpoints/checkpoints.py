"""Checkpoints of a run; only this package knows Orbax.

A checkpoint at step N holds the items `params`, `train` (optimiser state, step
and skipped steps), `meta` (JSON: step, model, data fingerprint, versions, ...)
and, in runs that keep one, `ema`, the moving average of the parameters.
Parameters are an item of their own, so evaluation and fine-tuning read only
them. Beside the items lies a list of checksums (manifest.py): a checkpoint is
used only if all its files are as they were written. The metrics of a step come
later, once it is evaluated.
"""

import contextlib
import logging
import pathlib
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath

from interbert_jax.checkpoints import manifest
from interbert_jax.checkpoints import params as checkpoint_params
from interbert_jax.checkpoints.settings import CheckpointSettings
from interbert_jax.checkpoints.step_metrics import StepMetrics
from interbert_jax.checkpoints.stored_step import StoredStep
from interbert_jax.contract.errors import CheckpointError
from interbert_jax.contract.files import check_regular
from interbert_jax.parallel import anywhere, is_main_process, wait_for_all
from interbert_jax.run.environment import versions
from interbert_jax.run.nonfinite import not_finite
from interbert_jax.run.workdir import remove_while_written, set_aside

log = logging.getLogger(__package__)
STEPS = "checkpoints"  # the directory of all steps in a workdir
_TEMPORARY = ".orbax-checkpoint-tmp"
_FULL = "no space left on the disk"
_SAVE_TIMEOUT = 1200  # seconds; a save that hangs is an error


def _items(state) -> dict[str, Any]:
  """The arrays of a TrainState, by the item that holds them."""
  train = ("step", "opt_state", "skipped", "skipped_in_a_row")
  items = {
    "params": state.params,
    "train": {name: getattr(state, name) for name in train},
    "ema": state.ema,
  }
  return {name: tree for name, tree in items.items() if tree is not None}


class _Manager(ocp.CheckpointManager):
  def reached_preemption(self, step: int) -> bool:
    # Orbax would ask JAX at steps and in threads of its own. JAX counts who
    # asks when (preemption.py), and hosts would no longer stop together.
    return False


class Checkpoints:
  """The checkpoints of one directory.

  Args:
    directory: created if it is missing and `create` is set.
    settings: which steps are kept; by default none for its metric.

  Attributes:
    metrics: those of the steps.
  """

  def __init__(
    self,
    directory,
    settings: CheckpointSettings | None = None,
    *,
    create: bool = True,
  ):
    settings = settings or CheckpointSettings(best_metric="")
    self.directory = epath.Path(directory).absolute()
    if not create and not self.directory.is_dir():
      raise CheckpointError(
        f"{self.directory}: no checkpoints here; train first with "
        "main.py --workdir, or give another --workdir"
      )
    if self.directory.exists() and not self.directory.is_dir():
      raise CheckpointError(
        f"{self.directory}: wanted a directory of checkpoints, found a file; "
        "remove it, or give another --workdir"
      )
    for path in pathlib.Path(self.directory).glob("*/_CHECKPOINT_METADATA"):
      check_regular(path)  # Orbax reads it at once
    self.best_metric = settings.best_metric
    self.metrics = StepMetrics(pathlib.Path(self.directory), settings)
    self._saving: int | None = None  # the step that is being written
    self._failed = False
    self._bytes = 0  # an estimate for the save that is being written
    self._bytes_on_disk = 0  # of the last save in this process
    if create and is_main_process():
      for path in pathlib.Path(self.directory).glob(f"*{_TEMPORARY}*"):
        log.warning("ignoring unfinished checkpoint %s", path)
    try:
      self.manager = _Manager(
        self.directory,
        # Named here, or a fresh manager cannot read the items' metadata.
        item_handlers={
          "params": ocp.StandardCheckpointHandler(),
          "train": ocp.StandardCheckpointHandler(),
          "ema": ocp.StandardCheckpointHandler(),
          "meta": ocp.JsonCheckpointHandler(),
        },
        options=ocp.CheckpointManagerOptions(
          save_interval_steps=settings.save_every,
          preservation_policy=ocp.checkpoint_managers.AnyPreservationPolicy(
            [
              ocp.checkpoint_managers.LatestN(settings.keep_latest),
              self.metrics,
            ]
          ),
          create=create,
          cleanup_tmp_directories=create,
          async_options=ocp.AsyncOptions(
            timeout_secs=_SAVE_TIMEOUT,
            post_finalization_callback=self._write_manifest,
          ),
        ),
      )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
      raise CheckpointError(
        f"{self.directory}: Orbax cannot read a step's _CHECKPOINT_METADATA: "
        f"{error}; remove that file, or restore it from a copy"
      ) from error

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()

  def close(self) -> None:
    """Waits for saves under way; raises what they raised."""
    try:
      if not self._failed:
        self.wait()
    finally:
      # Orbax raises again what `wait` has raised already.
      known = (Exception,) if self._failed else ()
      with contextlib.suppress(*known):
        self.manager.close()
      if self._failed:
        for path in self._unfinished(self._saving):
          remove_while_written(path)  # it would fill the disk

  def wait(self) -> None:
    """Waits until the last save is whole.

    Raises:
      CheckpointError: it failed; nothing of it is left.
    """
    with self._explained():
      self.manager.wait_until_finished()

  def check(self) -> None:
    """Raises the error of a save that has failed; does not wait."""
    # With several processes, only `save` and `wait` end a save, together.
    if jax.process_count() == 1 and not self.manager.is_saving_in_progress():
      self.wait()

  @contextlib.contextmanager
  def _explained(self):
    """Turns any error of a failed save into one message."""
    try:
      yield
    except CheckpointError:
      raise
    except Exception as error:
      self._failed = True
      reason = str(error).strip().partition("\n")[0]
      if "No space left" in str(error) or "ENOSPC" in str(error):
        reason = _FULL
      raise CheckpointError(self._why(reason)) from error

  def _check_room(self, items) -> None:
    """Refuses a save for which the disk is too full, before it begins."""
    # Written like the one before; a first one may shrink to a half.
    in_memory = sum(x.nbytes for x in jax.tree.leaves(items))
    self._bytes = self._bytes_on_disk or in_memory // 2
    if anywhere(shutil.disk_usage(self.directory).free < self._bytes):
      self._failed = True
      raise CheckpointError(self._why(_FULL))

  def _why(self, reason: str) -> str:
    free = shutil.disk_usage(self.directory).free
    again = "make room and give the same command again"
    if reason != _FULL and free > 2 * self._bytes:
      again = "give the same command again once its cause is gone"
    return (
      f"{self.directory}/{self._saving}: the checkpoint cannot be written: "
      f"{reason}. It needs about {self._bytes / 1e6:,.1f} MB, and "
      f"{free / 1e6:,.1f} MB are free. The last good one is {self.last}; "
      f"{again}"
    )

  def _unfinished(self, step: int | None) -> list[pathlib.Path]:
    folder = pathlib.Path(self.directory)
    return list(folder.glob(f"{step}{_TEMPORARY}*"))

  def _write_manifest(self) -> None:
    """Orbax calls this when all files are there, before it names them."""
    for path in self._unfinished(self._saving):
      self._bytes_on_disk = manifest.write_manifest(path)

  @property
  def steps(self) -> list[int]:
    return sorted(self.manager.all_steps())

  @property
  def last(self) -> str:
    """The newest step, for messages."""
    return f"{self.directory}/{self.steps[-1]}" if self.steps else "none"

  def save(
    self,
    state,
    *,
    step: int,
    meta: Mapping[str, Any],
  ) -> None:
    """Starts an asynchronous save of a TrainState whose numbers are finite."""
    args, items = ocp.args, _items(state)
    if bad := not_finite(items):
      raise CheckpointError(
        f"{self.directory}: step {step} is not saved, {len(bad)} arrays of it "
        f"are not finite: {', '.join(bad[:8])}; the last good checkpoint is "
        f"{self.last}"
      )
    self.wait()
    self._saving = step
    self._check_room(items)
    with self._explained():
      self.manager.save(
        step,
        args=args.Composite(
          **{name: args.StandardSave(tree) for name, tree in items.items()},
          meta=args.JsonSave({**meta, "step": step, "versions": versions()}),
        ),
        force=True,
      )

  def record(self, step: int, metrics: Mapping[str, float]) -> None:
    """Keeps the metrics of a step that was saved before it was evaluated."""
    self.wait()
    self.metrics.record(step, metrics)

  def restore(
    self,
    template,
    *,
    step: int | None = None,
    check: Callable[[Mapping[str, Any]], None] | None = None,
  ):
    """The newest state whose files are whole, or None if none was ever saved.

    Damaged steps are passed over, named, and put aside with everything else
    that is newer than the step that is taken.

    Args:
      template: a TrainState of arrays or shapes with shardings.
      step: this one and no other.
      check: raises where the step's `meta` speaks against going on with it.

    Returns:
      (state, meta).

    Raises:
      CheckpointError: items differ from the template's; the step is not there
        or damaged; or all are.
    """
    wanted = _items(jax.tree.map(ocp.utils.to_shape_dtype_struct, template))
    steps = self.steps if step is None else [self.choose(str(step))]
    damaged = {}
    for newest in reversed(steps):
      stored = StoredStep(self.manager, newest)
      if problem := stored.damage():
        damaged[newest] = problem
        continue
      for problem in damaged.values():
        log.warning("checkpoint %s; taking step %s", problem, newest)
      state, meta = stored.restore(template, wanted, check)
      self._put_aside([s for s in self.steps if s > newest])
      return state, meta
    if not damaged:
      return None
    problems = "\n  ".join(damaged.values())
    if step is not None:
      raise CheckpointError(
        f"checkpoint {problems}\n  steps there are: {self.steps}"
      )
    raise CheckpointError(
      f"refusing to start from step 0: {self.directory} has {len(damaged)} "
      f"unreadable checkpoints:\n  {problems}\nrestore them from a copy, or "
      "pass --config.restart=True to move the workdir aside and start over"
    )

  def _put_aside(self, steps: list[int]) -> None:
    """Moves steps out of the way of those that are saved next."""
    if not steps:
      return
    if is_main_process():
      folder = pathlib.Path(self.directory)
      for step in steps:
        moved = set_aside(folder / str(step), folder.parent / "set_aside")
        log.warning("checkpoint %s is now %s", folder / str(step), moved)
    wait_for_all("put aside")
    self.manager.reload()

  def choose(self, which: str) -> int:
    """The step meant by "latest", "best" or a number."""
    steps = self.steps
    if not steps:
      raise CheckpointError(f"{self.directory}: holds no finished checkpoint")
    if which == "latest":
      return steps[-1]
    if which == "best":
      if not self.best_metric:
        raise CheckpointError(
          f"{self.directory}: no checkpoint.best_metric, so that no "
          f"step is the best; wanted latest or one of {steps}"
        )
      step = self.metrics.best(steps)
      if step is None:
        known = sorted({name for s in steps for name in self.metrics.of(s)})
        raise CheckpointError(
          f"{self.directory}: no checkpoint has the metric "
          f"{self.best_metric!r}; steps: {steps}; metrics: {known}"
        )
      return step
    if not which.isdigit() or int(which) not in steps:
      raise CheckpointError(
        f"{self.directory}: no checkpoint {which!r}; wanted latest, best or "
        f"one of {steps}"
      )
    return int(which)

  def has_ema(self, step: int) -> bool:
    return (self.directory / str(step) / "ema").is_dir()

  def load_params(self, step: int, item: str = "params") -> tuple[Any, dict]:
    """(parameters as NumPy arrays, meta) of one step, on any machine."""
    return checkpoint_params.load_params(self.directory / str(step), item)
