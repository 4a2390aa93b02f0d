"""Runs of any task over tiny files: trained two steps, or random weights."""

import dataclasses
import functools
from unittest import mock

import jax
import numpy as np

from interbert_jax.app import train
from interbert_jax.app.build import find_task, make_task
from interbert_jax.app.validate import read_experiment
from interbert_jax.checkpoints import params as checkpoint_params
from interbert_jax.contract import json_file
from interbert_jax.contract.batch import dummy_batch
from interbert_jax.parallel import make_parallel


def set_tiny(config, files):
  """A configuration of one layer over the files of a task's tests."""
  for key in set(files) - {"split", "seed", "format"}:
    value = files[key]
    config.input[key] = value if isinstance(value, int) else str(value)
  config.model.hidden_size = 32
  config.model.num_interaction_layers = 1
  config.evals.batch_size = 8
  config.checkpoint.best_metric = ""
  return config


def one_device(**options):
  """Compiles in half the time."""
  return make_parallel(devices=jax.devices()[:1], **options)


def train_two_steps(config, files, workdir):
  """Trains a tiny model of this configuration; the last metrics."""
  best_metric = config.checkpoint.best_metric
  config = set_tiny(config, files)
  config.checkpoint.best_metric = best_metric
  for key in ("mlp_dim", "region_mlp_dim", "pooler_dim"):
    config.model[key] = 32
  config.train.batch_size = 8
  config.train.epochs = None
  config.train.steps = 2
  config.train.log_every = 1
  config.checkpoint.save_every = 2
  with mock.patch.object(train, "make_parallel", one_device):
    return train.run_training(config, workdir)


def random_params(task, example, *, seed=0):
  """Nothing is compiled; weights are large enough for scores to differ."""
  init = functools.partial(task.init, jax.random.key(0))
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda x: (
      rng.normal(0, 0.1, x.shape).astype(np.float32)
      if x.ndim > 1
      else np.ones(x.shape, np.float32)
    ),
    jax.eval_shape(init, example),
  )


def save_random_run(workdir, config, *, step=2):
  settings = read_experiment(config)
  module = find_task(settings)
  data = module.data(settings, settings.input.train_split)
  info, task = data.info, make_task(settings, data.info)
  example = dummy_batch(
    task.batch_spec,
    dims={**data.dims, "B": 1},
    vocab_size=task.config.vocab_size,
  )
  checkpoint_params.save_params(
    workdir / "checkpoints" / str(step),
    random_params(task, example),
    {
      "model": dataclasses.asdict(task.config),
      "step": step,
      **{k: info[k] for k in ("vocab_sha256", "answers_sha256") if k in info},
    },
  )
  json_file.write_json(workdir / "config.json", config.to_dict())
  return workdir
