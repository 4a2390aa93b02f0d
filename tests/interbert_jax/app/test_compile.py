"""main.py --mode=compile, where TPU's compiler is installed."""

import importlib
import importlib.util
import re

import jax
import pytest

from configs import pretrain_en
from interbert_jax.app.compile import find_topology, lower_step, run_compile
from interbert_jax.app.validate import validate
from interbert_jax.contract.errors import ConfigError, UserError

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
  assert 0 < said["useful_gflops_per_example"] < said["gflops_per_example"]
  assert said["fits"] and 0 < said["memory_gb"]["total"] < 1
  estimate = said["estimate"]
  assert estimate["mcycles"] > 0
  assert sum(estimate["percent_by_part"].values()) == pytest.approx(100, abs=1)
  # A v5e has 1.5 Mcycles a millisecond.
  milliseconds = estimate["mcycles"] / 1.5
  assert estimate["milliseconds"] == pytest.approx(milliseconds)


@needs_compiler
def test_rates_for_weights_need_no_weights():
  config = tiny(32)
  config.optim.rate_groups = (("text_embeddings", 0.2),)
  assert run_compile(config, "v5e:2x2")["fits"]


@needs_compiler
def test_too_large_a_step_is_one_message():
  with pytest.raises(UserError, match="more memory") as caught:
    run_compile(tiny(1 << 20), "v5e:2x2")
  assert "train.batch_size" in str(caught.value)


def test_the_work_of_the_base_step():
  """An example of COCO's lengths; before optimisation, on any device."""
  config = pretrain_en.get_config()
  step = lower_step(validate(config, devices=4, hosts=1), jax.devices()[:4])
  # Four devices share 512: of each 128 at most so many have so many tokens.
  assert sum(part.count for part in step.parts) == 128
  gflops = step.lowered.cost_analysis()["flops"] / 512 / 1e9
  assert 25 < gflops <= 27.5
  # Nothing large is multiplied in float32: the match head and the bias of
  # words, forward and backward.
  products = re.findall(
    r"dot_general.*: (\(.*f32>\) -> .*)", step.lowered.as_text()
  )
  assert products
  for shapes in products:
    assert "2xf32>" in shapes or "<30522xf32>" in shapes, shapes


def small_step(name: str, **parallel):
  arg = "sst2,runlocal" if name == "finetune_text" else "runlocal"
  config = importlib.import_module(f"configs.{name}").get_config(arg)
  config.parallel.update(parallel)
  for key in ("vocab", "store", "annotations", "directory", "near_images"):
    if key in config.input:
      config.input[key] = "none"
  if "group_size" in config.task:
    config.task.group_size = 8
  return lower_step(validate(config, devices=4, hosts=1), jax.devices()[:4])


@pytest.mark.parametrize(
  ("name", "texts", "images", "is_caption"),
  [
    ("finetune_flickr30k", 3, 2, True),
    ("finetune_vcr", 4, 1, False),
    ("finetune_vqa", 1, 1, False),
    ("finetune_nlvr2", 1, 2, False),
    ("finetune_snli_ve", 1, 1, False),
    ("finetune_text", 1, 1, False),
  ],
)
def test_every_task_has_a_step_without_data(name, texts, images, is_caption):
  step = small_step(name)
  assert (step.dims["T"], step.dims["I"]) == (texts, images)
  assert step.lowered.cost_analysis()["flops"] > 0
  # Only captions are taken to be as long as COCO's.
  assert (step.parts is not None) == is_caption


@pytest.mark.parametrize(
  "parallel",
  [{"mode": "pmap"}, {"sharding": "zero1"}, {"sharding": "fsdp"}],
  ids=lambda parallel: next(iter(parallel.values())),
)
def test_every_way_to_share_has_a_step_without_data(parallel):
  step = small_step("pretrain_zh", **parallel)
  assert step.lowered.cost_analysis()["flops"] > 0


def test_an_unknown_chip_is_named():
  with pytest.raises(ConfigError, match="v7: wanted one of v4, v5e"):
    find_topology("v7")


@needs_compiler
def test_an_impossible_topology_is_named():
  with pytest.raises(ConfigError, match="--topology=v5e:3x7"):
    find_topology("v5e:3x7")


@needs_compiler
@pytest.mark.parametrize(
  ("name", "count", "gigabytes"),
  [
    ("v5e:1x1", 1, 16),
    ("v5e:4x4", 16, 16 * 16),
    ("v5p:2x2x1", 4, 4 * 95),
    ("v4:2x2x1", 8, 4 * 32),  # the cores of four chips
  ],
)
def test_all_memory_of_a_topology(name, count, gigabytes):
  chip, devices = find_topology(name)
  assert len(devices) == count
  assert count * chip.memory_gb == pytest.approx(gigabytes * 1.0737)
