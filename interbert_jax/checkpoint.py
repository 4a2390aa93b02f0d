"""Checkpoints: the only file that knows Orbax.

A checkpoint at step N holds the items `params`, `train` (optimiser state, step
and skipped steps), `meta` (JSON: step, model, data fingerprint, versions) and,
in runs that keep one, `ema`, the moving average of the parameters. Parameters
are an item of their own, so evaluation and fine-tuning read only them.
"""

import logging
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from interbert_jax.errors import CheckpointError, ConfigError
from interbert_jax.nonfinite import not_finite
from interbert_jax.run_info import versions

log = logging.getLogger(__name__)
_SHOWN_PROBLEMS = 20  # of the differences between two trees


def _shapes(tree) -> dict[str, tuple]:
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
    for path, leaf in leaves
  }


def shape_differences(saved, wanted) -> list[str]:
  """Every parameter that is missing, surplus or of another shape."""
  saved, wanted = _shapes(saved), _shapes(wanted)
  problems = [f"missing: {k} {v}" for k, v in wanted.items() if k not in saved]
  problems += [f"surplus: {k} {v}" for k, v in saved.items() if k not in wanted]
  problems += [
    f"misshapen: {k} is {saved[k]}, wanted {v}"
    for k, v in wanted.items()
    if k in saved and saved[k] != v
  ]
  return problems


def _items(state) -> dict[str, Any]:
  """The arrays of a TrainState, by the item that holds them."""
  train = ("step", "opt_state", "skipped", "skipped_in_a_row")
  items = {
    "params": state.params,
    "train": {name: getattr(state, name) for name in train},
    "ema": state.ema,
  }
  return {name: tree for name, tree in items.items() if tree is not None}


def check_best_mode(mode: str) -> None:
  if mode not in ("max", "min"):
    raise ConfigError(f"checkpoint.best_mode is {mode!r}; wanted max or min")


class Checkpoints:
  """The checkpoints of one directory.

  Args:
    directory: created if it is missing and `create` is set.
    save_every: steps between saves.
    keep_latest: how many of the newest are kept.
    best_metric: name of the evaluation metric whose best step is kept too,
      empty for none.
    best_mode: "max" or "min".
  """

  def __init__(
    self,
    directory,
    *,
    save_every: int = 1,
    keep_latest: int = 2,
    best_metric: str = "",
    best_mode: str = "max",
    create: bool = True,
  ):
    check_best_mode(best_mode)
    self.directory = epath.Path(directory).absolute()
    if not create and not self.directory.is_dir():
      raise CheckpointError(
        f"{self.directory}: no checkpoints here; train first with "
        "main.py --workdir, or give another --workdir"
      )
    policies: list = [ocp.checkpoint_managers.LatestN(keep_latest)]
    best: dict[str, Any] = {}
    if best_metric:

      def score(metrics) -> float:
        return metrics[best_metric]

      policies.append(
        ocp.checkpoint_managers.BestN(
          get_metric_fn=score,
          n=1,
          reverse=best_mode == "min",
          keep_checkpoints_without_metrics=False,
        )
      )
      # Without best_fn the metrics would not be written.
      best = {"best_fn": score, "best_mode": best_mode}
    self.best_metric = best_metric
    self.manager = ocp.CheckpointManager(
      self.directory,
      # Named here, or a fresh manager cannot read the items' metadata.
      item_handlers={
        "params": ocp.StandardCheckpointHandler(),
        "train": ocp.StandardCheckpointHandler(),
        "ema": ocp.StandardCheckpointHandler(),
        "meta": ocp.JsonCheckpointHandler(),
      },
      options=ocp.CheckpointManagerOptions(
        save_interval_steps=save_every,
        preservation_policy=ocp.checkpoint_managers.AnyPreservationPolicy(
          policies
        ),
        create=create,
        cleanup_tmp_directories=create,
        **best,
      ),
    )

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()

  def close(self) -> None:
    """Waits for saves under way; raises what they raised."""
    self.manager.wait_until_finished()
    self.manager.close()

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
    metrics: Mapping[str, float] | None = None,
  ) -> None:
    """Starts an asynchronous save of a TrainState whose numbers are finite."""
    args, items = ocp.args, _items(state)
    if bad := not_finite(items):
      raise CheckpointError(
        f"{self.directory}: step {step} is not saved, {len(bad)} arrays of it "
        f"are not finite: {', '.join(bad[:8])}; the last good checkpoint is "
        f"{self.last}"
      )
    known = {k: float(v) for k, v in (metrics or {}).items()}
    self.manager.save(
      step,
      args=args.Composite(
        **{name: args.StandardSave(tree) for name, tree in items.items()},
        meta=args.JsonSave({**meta, "step": step, "versions": versions()}),
      ),
      metrics=known if self.best_metric in known else None,
      force=True,
    )

  def restore(self, template):
    """The newest readable state, or None where nothing was ever saved.

    Args:
      template: a TrainState of arrays or shapes with shardings.

    Returns:
      (state, meta).

    Raises:
      CheckpointError: when items differ from the template's, or when there
        are checkpoints and none of them can be read.
    """
    args = ocp.args
    wanted = _items(jax.tree.map(ocp.utils.to_shape_dtype_struct, template))
    failures = []
    for step in reversed(self.steps):
      try:
        saved = self._saved(step)
      except Exception as error:  # Orbax raises many types for a damaged file
        failures.append(f"step {step}: {type(error).__name__}: {error}")
        continue
      self._check_items(step, saved, wanted)
      try:
        restored = self.manager.restore(
          step,
          args=args.Composite(
            **{name: args.StandardRestore(x) for name, x in wanted.items()},
            meta=args.JsonRestore(),
          ),
        )
      except Exception as error:
        failures.append(f"step {step}: {type(error).__name__}: {error}")
        log.warning("checkpoint %s; trying an older one", failures[-1])
        continue
      state = template.replace(
        params=restored["params"],
        ema=restored.get("ema"),
        **restored["train"],
      )
      return state, restored["meta"]
    if failures:
      raise CheckpointError(
        f"{self.directory}: no readable checkpoint, and starting over would "
        "hide that; move the directory away to do so:\n  "
        + "\n  ".join(failures)
      )
    return None

  def _saved(self, step: int) -> dict[str, Any]:
    """The shapes of a step's items."""
    found = self.manager.item_metadata(step)
    names = ["params", "train"]
    if self.has_ema(step):
      names.append("ema")
    return {name: found[name].tree for name in names}

  def _check_items(self, step: int, saved, wanted) -> None:
    """Refuses a step that another configuration has saved."""
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
        f"{self.directory}/{step} was saved by another configuration "
        f"({hint}):\n  " + "\n  ".join(shown) + "\nuse another --workdir, or "
        "the configuration it was made with"
      )

  def choose(self, which: str) -> int:
    """The step meant by "latest", "best" or a number."""
    steps = self.steps
    if not steps:
      raise CheckpointError(f"{self.directory}: holds no finished checkpoint")
    if which == "latest":
      return steps[-1]
    if which == "best":
      step = self.manager.best_step()
      if step is None:
        raise CheckpointError(
          f"{self.directory}: no checkpoint has the metric "
          f"{self.best_metric!r}; steps: {steps}"
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
    return load_params(self.directory / str(step), item)


def load_params(path, item: str = "params") -> tuple[Any, dict]:
  """(parameters as NumPy arrays, meta) of a checkpoint's step directory.

  The item is "params" or "ema", the moving average of them.
  """
  path = epath.Path(path).absolute()
  if not (path / "params").is_dir():
    raise CheckpointError(
      f"{path}: not a checkpoint; wanted a step directory with 'params' in it"
    )
  if not (path / item).is_dir():
    raise CheckpointError(
      f"{path}: has no item {item!r}; its run kept no moving average "
      "(train.ema_decay), so take its parameters (--noema in eval scripts)"
    )
  handlers = {
    item: ocp.StandardCheckpointHandler(),
    "meta": ocp.JsonCheckpointHandler(),
  }
  try:
    with ocp.Checkpointer(
      ocp.CompositeCheckpointHandler(**handlers)
    ) as checkpointer:
      tree = checkpointer.metadata(path).item_metadata[item].tree
      # A template of NumPy arrays reads on any number of devices.
      template = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), tree)
      restored = checkpointer.restore(
        path,
        args=ocp.args.Composite(
          **{item: ocp.args.StandardRestore(template)},
          meta=ocp.args.JsonRestore(),
        ),
      )
  except Exception as error:
    raise CheckpointError(
      f"{path}: unreadable: {type(error).__name__}: {error}"
    ) from error
  return restored[item], restored["meta"]


def save_params(path, params, meta: Mapping[str, Any]) -> None:
  """Writes a checkpoint with no training state, for `init_from` and eval."""
  with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
    checkpointer.save(
      epath.Path(path).absolute(),
      args=ocp.args.Composite(
        params=ocp.args.StandardSave(params),
        meta=ocp.args.JsonSave({**meta, "versions": versions()}),
      ),
    )
