"""BertAdam's state: from the official file to our paths, number by number."""

import argparse
import dataclasses
import functools

import numpy as np
import pytest

from interbert_jax.checkpoints import params as checkpoint_params
from interbert_jax.contract.errors import CheckpointError
from interbert_jax.convert_torch import main
from interbert_jax.weights.official import params_to_torch
from interbert_jax.weights.official_names import official_tensors
from interbert_jax.weights.official_optimizer import (
  read_official_optimizer,
  read_optimizer,
)
from interbert_jax.weights.torch_file import load_torch_file
from tests.support.official_weights import DECODER, same
from tests.support.torch_refusal import message_of
from tests.support.torch_writer import WRITERS, Instance, whole


@pytest.fixture(scope="module")
def names(golden_dir):
  """The official optimiser's own order: five of its steps are in golden."""
  arrays = np.load(golden_dir / "pretrain_kl.npz")
  prefix = "opt/after5/"
  return [k.removeprefix(prefix) for k in arrays if k.startswith(prefix)]


def make_state(official, names, *, first=0, steps=()):
  """(what the file holds, {name: (m, v, step)}); the keys are arbitrary."""
  rng = np.random.default_rng(first)
  schedule = Instance(
    "pytorch_pretrained_bert.optimization",
    "WarmupLinearSchedule",
    warmup=0.1,
    t_total=800.0,
    warned_for_t_total_at_progress=-1,
  )
  state, groups, wanted = {}, [], {}
  for i, name in enumerate(names):
    key = 140_000_000_000_000 + 64 * (7 * i % len(names))
    shape = official.weights[name].shape
    m = np.float32(rng.normal(size=shape))
    v = np.float32(rng.uniform(size=shape))
    step = 300 + i % 2
    wanted[name] = m, v, step
    state[key] = {
      "step": step,
      "next_m": whole(2 * i, m),
      "next_v": whole(2 * i + 1, v),
    }
    groups.append(
      {
        "params": [key],
        "lr": 1e-5 if "encoder.layer" in name else 1e-4,
        "weight_decay": 0.01 if name.endswith("bias") else 0.0,
        "schedule": schedule,
        "b1": 0.9,
        "max_grad_norm": 1.0,
      }
    )
  return {"state": state, "param_groups": groups}, wanted


def test_our_order_is_the_official_one(official, names):
  assert [t.name for t in official_tensors(official.config)] == names


@pytest.mark.parametrize("layout", WRITERS)
def test_every_number_arrives(official, names, layout, tmp_path):
  path = tmp_path / "optimizer_state_14.bin"
  tree, wanted = make_state(official, names)
  WRITERS[layout](path, tree)
  found = read_official_optimizer(path, official.config)
  assert len(found) == len(names) == 124
  by_name = {t.name: t for t in official_tensors(official.config)}
  for name, (m, v, step) in wanted.items():
    moments = found[by_name[name].path]
    turned = name.endswith("weight") and "kernel" in by_name[name].path
    np.testing.assert_array_equal(moments.m, m.T if turned else m, name)
    np.testing.assert_array_equal(moments.v, v.T if turned else v, name)
    assert moments.step == step and moments.m.dtype == np.float32
    assert moments.m.shape == by_name[name].shape


def test_schedules_are_read_as_namespaces(official, names, tmp_path):
  path = tmp_path / "optimizer_state_14.bin"
  WRITERS["zip"](path, make_state(official, names)[0])
  schedules = {
    id(g["schedule"]): g["schedule"]
    for g in load_torch_file(path)["param_groups"]
  }
  assert list(schedules.values()) == [
    argparse.Namespace(
      warmup=0.1, t_total=800.0, warned_for_t_total_at_progress=-1
    )
  ]
  bad = Instance("pytorch_pretrained_bert.optimization", "BertAdam")
  WRITERS["zip"](path, {"optimizer": bad})
  with pytest.raises(ValueError, match="refusing to load global pytorch_pre"):
    load_torch_file(path)


def test_a_tensor_without_updates_starts_at_zero(official, names, tmp_path):
  tree, _ = make_state(official, names)
  del tree["state"][tree["param_groups"][3]["params"][0]]
  WRITERS["zip"](tmp_path / "o.bin", tree)
  found = read_official_optimizer(tmp_path / "o.bin", official.config)
  moments = found["encoder/text_embeddings/norm/scale"]
  assert moments.step == 0 and not moments.m.any() and not moments.v.any()


def refused(official, path, tree, *words):
  WRITERS["zip"](path, tree)
  call = functools.partial(read_official_optimizer, path, official.config)
  message_of(call, str(path), *words)


def test_refuses_what_does_not_fit(official, names, tmp_path):
  path = tmp_path / "o.bin"
  refused(official, path, {"model": {}}, "wanted 'state'", "['model']")
  tree, _ = make_state(official, names[:-1])
  refused(official, path, tree, "123 groups", "wanted 124 groups of one")
  tree, _ = make_state(official, names)
  keys = [g["params"][0] for g in tree["param_groups"]]
  tree["state"][keys[0]]["next_v"] = whole("x", np.zeros((2, 3), np.float32))
  del tree["state"][keys[1]]["next_m"]
  tree["state"][keys[2]]["step"] = 1.5
  refused(
    official,
    path,
    tree,
    "(3 differences)",
    "next_v of bert.embeddings.word_embeddings.weight is (2, 3), wanted",
    "missing: next_m of bert.embeddings.position_embeddings.weight",
    "step of bert.embeddings.token_type_embeddings.weight is 1.5",
  )
  tree, _ = make_state(official, names)
  tree["state"][5] = tree["state"][keys[0]]
  refused(official, path, tree, "states of 125 tensors")
  other = dataclasses.replace(official.config, num_region_layers=1)
  with pytest.raises(CheckpointError, match="wanted 108 groups"):
    read_official_optimizer(path, other)


def test_the_conversion_keeps_it_with_the_checkpoint(
  official, names, tmp_path, capsys
):
  np.savez(tmp_path / "weights.npz", **official.weights)
  (tmp_path / "model.json").write_text(official.json)
  tree, _ = make_state(official, names)
  WRITERS["zip"](tmp_path / "o.bin", tree)
  flags = [
    f"--input={tmp_path / 'weights.npz'}",
    f"--config={tmp_path / 'model.json'}",
    f"--optimizer={tmp_path / 'o.bin'}",
  ]
  step = tmp_path / "step"
  assert main([*flags, f"--output={step}"]) == 0
  assert "124 tensors, updates [300, 301]" in capsys.readouterr().out
  found = read_optimizer(step)
  wanted = read_official_optimizer(tmp_path / "o.bin", official.config)
  assert found.keys() == wanted.keys()
  for name, moments in wanted.items():
    np.testing.assert_array_equal(found[name].m, moments.m)
    np.testing.assert_array_equal(found[name].v, moments.v)
    assert found[name].step == moments.step
  # The checkpoint beside it is what it was without.
  params, _ = checkpoint_params.load_params(step)
  weights = params_to_torch(params, official.config)
  same(weights, official.weights)
  assert DECODER in weights
  assert read_optimizer(tmp_path) is None

  flags[-1] = f"--optimizer={tmp_path / 'weights.npz'}"
  assert main([*flags, f"--output={tmp_path / 'other'}"]) == 2
  assert not (tmp_path / "other").exists()
  assert "weights.npz" in capsys.readouterr().err
  command = [f"--input={step}", f"--output={tmp_path / 'x.safetensors'}"]
  assert main([*command, flags[-1]]) == 2
  assert "only for a weights file" in capsys.readouterr().err
