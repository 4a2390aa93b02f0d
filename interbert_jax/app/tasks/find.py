"""The tasks by name: what each makes of a configuration.

A module of a task has these functions, the last where there is something to
hand in (report.py):

  data(config, split)                         batches of a split of the texts
  task(config, info, model=None)              how they become losses
  evaluators(config, task, held_out, parallel)    by the prefix of their metrics
  report(run, settings, parallel)             what the eval script writes

`model` is a checkpoint's configuration, where there is one. A new task is a
file here, one in interbert_jax/tasks/ and a configuration.
"""

import difflib
import types
from collections.abc import Mapping
from typing import Any

from interbert_jax.app.tasks import (
  pretrain,
  retrieval,
  statements,
  text,
  vcr,
  vqa,
)
from interbert_jax.contract.errors import ConfigError

TASKS = {
  "pretrain": pretrain,
  "retrieval": retrieval,
  "text": text,
  "vcr": vcr,
  "vqa": vqa,
  "snli_ve": statements,
  "nlvr2": statements,
}


def find_task(config: Mapping[str, Any]) -> types.ModuleType:
  """The module of the configuration's task."""
  name = config["task"]["name"]
  if name not in TASKS:
    near = difflib.get_close_matches(name, TASKS, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ConfigError(
      f"task.name is {name!r}; wanted one of {', '.join(TASKS)}{hint}"
    )
  return TASKS[name]
