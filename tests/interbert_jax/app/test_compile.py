"""main.py --mode=compile, where TPU's compiler is installed."""

import functools
import importlib.util

import jax
import pytest

from configs import pretrain_en
from interbert_jax.app.build import make_task
from interbert_jax.app.compile import (
  ASSUMED,
  assumed_parts,
  find_topology,
  run_compile,
)
from interbert_jax.app.validate import validate
from interbert_jax.contract.errors import ConfigError, UserError
from interbert_jax.parallel import make_parallel
from interbert_jax.training.program import abstract_batch, make_program

needs_compiler = pytest.mark.skipif(
  importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed"
)


def tiny(batch_size: int, **model):
  """A small pretraining model, with whole groups of examples on a chip."""
  config = pretrain_en.get_config("runlocal")
  config.input.store = config.input.annotations = config.input.vocab = "none"
  config.train.batch_size = batch_size
  config.task.group_size = 8
  for stream in ("interaction", "text", "region"):
    config.model[f"num_{stream}_layers"] = 1
  config.model.vocab_size = 1000
  config.model.region_feature_dim = 64
  config.model.num_region_classes = 40
  config.model.update(model)
  return config


@needs_compiler
def test_devices_exchange_gradients_and_scalars_alone():
  said = run_compile(tiny(32), "v5e:2x2")
  assert said["chips"] == 4 and said["examples_per_chip"] == 8
  assert set(said["collectives"]) == {"all-reduce"}
  # Every parameter's gradient, in float32, and some scalars.
  reduced = said["collectives"]["all-reduce"]["MB"] * 1e6 / 4
  words = 1000 * 128  # tied: the look-up and the head give a gradient each
  assert reduced == pytest.approx(said["parameters"], abs=words + 1000)
  assert said["fits"] and 0 < said["memory_gb"]["total"] < 1
  estimate = said["estimate"]
  assert estimate["mcycles"] > 0
  assert sum(estimate["percent_by_part"].values()) == pytest.approx(100, abs=1)
  # A v5e has 1.5 Mcycles a millisecond.
  milliseconds = estimate["mcycles"] / 1.5
  assert estimate["milliseconds"] == pytest.approx(milliseconds)


@needs_compiler
def test_too_large_a_step_is_one_message():
  with pytest.raises(UserError, match="more memory") as caught:
    run_compile(tiny(1 << 20), "v5e:2x2")
  assert "train.batch_size" in str(caught.value)


def test_the_work_of_the_base_step():
  """An example of COCO's lengths; before optimisation, on any device."""
  config = pretrain_en.get_config()
  config.train.batch_size = 128
  settings = validate(config, devices=1, hosts=1)
  task = make_task(settings, {**ASSUMED, "vocab_size": 30522})
  dims = {"L": 36, "R": 36, "E": 2048, "C": 1601}
  parallel = make_parallel(devices=jax.devices()[:1])
  program = make_program(
    task, settings, parallel, dims=dims, num_examples=10**6
  )
  # Quotas are those of the 512 examples that four devices share.
  parts = assumed_parts(512, program.group_size, dims["L"])
  lowered = parallel.lower_train_step(
    functools.partial(program.step_fn, parts=parts),
    program.init_fn,
    abstract_batch(task, dims=dims, batch_size=128),
  )
  gflops = lowered.cost_analysis()["flops"] / 128 / 1e9
  assert 25 < gflops <= 27.5


def test_an_unknown_chip_is_named():
  with pytest.raises(ConfigError, match="v7: wanted one of v4, v5e"):
    find_topology("v7")


@needs_compiler
def test_an_impossible_topology_is_named():
  with pytest.raises(ConfigError, match="--topology=v5e:3x7"):
    find_topology("v5e:3x7")
