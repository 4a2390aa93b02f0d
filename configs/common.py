"""The base of every configuration: all settings of a task, at their defaults.

A configuration file starts from `base_config(task)` and states what differs.
All of it can be changed on the command line: --config.optim.lr=3e-4, and
--config.train.epochs=None where a setting may be None. Keys are locked, so a
misspelt one is refused with the nearest name.

What a setting means stands at its field, in the settings.py of the package
that uses it; all of them, with defaults and ranges:

  python -m configs.common vqa

Batch sizes are global, tuples are used where lists would be (a list cannot be
overridden), and a placeholder is a key that is empty unless it is set.
"""

import dataclasses
import functools
import sys
from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from input_pipeline.tasks.settings import (
  CorpusSettings,
  InputSettings,
  PretrainInput,
  RetrievalInput,
  StatementInput,
  TextInput,
  VcrInput,
  VqaInput,
)
from interbert_jax.contract.files import cache_dir as cache_dir
from interbert_jax.contract.settings import (
  Settings,
  is_open,
  is_section,
  rules_of,
  setting,
)
from interbert_jax.evaluation.settings import EvalSettings, RetrievalEvals
from interbert_jax.model.config import ModelSettings
from interbert_jax.tasks.settings import (
  PretrainSettings,
  RetrievalSettings,
  StatementSettings,
  TaskSettings,
)
from interbert_jax.training.settings import RANDOM, RunSettings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment(RunSettings):
  """All settings of a run; `TASKS` says which classes a task has in them."""

  model: ModelSettings = setting(ModelSettings, "the shape of the model")
  task: TaskSettings = setting(TaskSettings, "what is learnt")
  input: InputSettings = setting(InputSettings, "the data")


@dataclasses.dataclass(frozen=True)
class TaskKind:
  """The settings that only some tasks have.

  Attributes:
    input: the settings of its data.
    task: those of its losses.
    evals: those of its evaluation.
    best: the metric by which its best step is kept, from its held-out split.
  """

  input: type[InputSettings]
  task: type[TaskSettings] = TaskSettings
  evals: type[EvalSettings] = EvalSettings
  best: str = "val/loss"


_STATEMENTS = TaskKind(StatementInput, StatementSettings, best="dev/accuracy")
TASKS = {
  "pretrain": TaskKind(PretrainInput, PretrainSettings, RetrievalEvals),
  "retrieval": TaskKind(
    RetrievalInput, RetrievalSettings, RetrievalEvals, best="val/rsum"
  ),
  "text": TaskKind(TextInput, best="val/score"),
  "vcr": TaskKind(VcrInput, best="val/Q->AR"),
  "vqa": TaskKind(VqaInput, best="val/accuracy"),
  "snli_ve": _STATEMENTS,
  "nlvr2": _STATEMENTS,
}


@functools.cache
def experiment_class(task: str) -> type[Experiment]:
  """Experiment with the classes of a task's sections."""
  kind = TASKS[task]
  sections = {"input": kind.input, "task": kind.task, "evals": kind.evals}
  about = {f.name: f.metadata["about"] for f in dataclasses.fields(Experiment)}
  return dataclasses.make_dataclass(
    f"Experiment_{task}",
    [(name, cls, setting(cls, about[name])) for name, cls in sections.items()],
    bases=(Experiment,),
    frozen=True,
    kw_only=True,
  )


def base_config(task: str = "pretrain") -> ConfigDict:
  """Every setting of a task at its default."""
  config, kind = config_of(experiment_class(task)), TASKS[task]
  config.task.name = task
  config.evals.split = kind.best.partition("/")[0]
  config.checkpoint.best_metric = kind.best
  return config


def config_of(cls: type[Settings]) -> ConfigDict:
  """The defaults of settings, with their types."""
  config = ConfigDict()
  for field in dataclasses.fields(cls):
    kind = rules_of(cls)[field.name].kind
    if is_section(kind):
      config[field.name] = config_of(kind)
    elif field.default is None:
      config[field.name] = placeholder(kind)
    elif field.default is dataclasses.MISSING:  # names that users choose
      config[field.name] = ConfigDict()
    else:
      config[field.name] = field.default
  return config


def corpus(**values: Any) -> ConfigDict:
  """One of several corpora, for a name in `config.input.corpora`."""
  config = config_of(CorpusSettings)
  config.update(values)
  return config


def runlocal(config: ConfigDict, arg: str) -> ConfigDict:
  """With the argument "runlocal", a model and a run for a laptop."""
  if arg not in ("", "runlocal"):
    raise ValueError(f"argument {arg!r}: wanted nothing or runlocal")
  if arg == "runlocal":
    config.model.size = "tiny"
    config.model.max_position_embeddings = 128  # the longest of these files
    config.model.dtype = "float32"
    config.train.batch_size = 32
    config.train.epochs = None
    config.train.steps = 20
    config.init_from = config.init_from or RANDOM
    config.train.log_every = 5
    config.evals.every = 0
    config.evals.batch_size = 32
    if "retrieval_images" in config.evals:  # not of every task
      config.evals.retrieval_images = 8
      config.evals.pairs_per_step = 64
    config.checkpoint.save_every = 20
  return config


# The parameters that exist in BERT-base too: the official scripts train them
# at a tenth of the rate (their MLM head, which BERT has as well, they do not).
BERT_PARAMETERS = (
  r"(^|/)encoder/(text_embeddings|interaction_encoder|text_encoder)/"
)


def official_optimizer(
  config: ConfigDict, schedule: str = "official_linear"
) -> ConfigDict:
  """The optimiser exactly as in the official code.

  Its pretraining, on weights of BERT, has rate_groups too.
  """
  config.optim.algorithm = "bert_adam"
  config.optim.schedule = schedule
  config.optim.decay_on = "biases_and_norms"
  config.optim.clip = "per_parameter"
  return config


def describe(cls: type[Settings], config: ConfigDict) -> Iterator[str]:
  """Lines of each setting: key and value, meaning, what it may be."""
  for name, rule in rules_of(cls).items():
    if is_section(rule.kind):
      lines = describe(rule.kind, config[name])
      yield from (f"{name}.{line}" for line in lines)
    else:
      values = "" if is_open(rule.kind) else f" [{rule.wanted}]"
      yield f"{name} = {config[name]!r}: {rule.about}{values}"


if __name__ == "__main__":
  name = (*sys.argv[1:], "pretrain")[0]
  if name not in TASKS:
    known = "|".join(TASKS)
    print(f"usage: python -m configs.common [{known}]", file=sys.stderr)
    sys.exit(2)
  print(*describe(experiment_class(name), base_config(name)), sep="\n")
