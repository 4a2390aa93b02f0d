"""Finds what joins the data and the model of a task.

A module of a task has these functions:

  data(settings, split)                       batches of a split of the texts
  task(settings, info, model=None)            how they become losses
  evaluators(settings, task, held_out, parallel)  by the prefix of their metrics
  report(run, settings, parallel)             what the eval script writes

`settings` are a configs.common.Experiment, `info` the facts of the data, and
`model` is a checkpoint's configuration, where there is one. A module may have
reported(settings), the names of an evaluation's metrics by their prefix, and
check(settings), which refuses what settings may not be together.
"""

import importlib
import types

from configs.common import Experiment

# The others are called as their task.
_MODULES = {"snli_ve": "statements", "nlvr2": "statements"}


def find_task(settings: Experiment) -> types.ModuleType:
  """The module of a run's task; only this one is imported."""
  name = settings.task.name
  module = _MODULES.get(name, name)
  return importlib.import_module(f"interbert_jax.app.tasks.{module}")
