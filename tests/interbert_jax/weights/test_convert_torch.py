"""Official weights to a checkpoint and back, from the command line."""

import collections
import dataclasses
import errno
import json
import os
import pathlib

import jax
import numpy as np
import pytest
import safetensors

from interbert_jax.checkpoints import params as checkpoint_params
from interbert_jax.contract.files import file_sha256
from interbert_jax.convert_torch import main
from interbert_jax.model.config import InterBertConfig, recorded_model
from interbert_jax.model.inputs import RegionInput, TextInput
from interbert_jax.model.interbert import InterBert
from interbert_jax.tasks.retrieval import SCORES, pair_score
from interbert_jax.weights.official import params_from_torch, params_to_torch
from interbert_jax.weights.weights_file import read_weights, write_safetensors
from tests.support.official_weights import (
  DECODER,
  REGION_KEYS,
  TEXT_KEYS,
  WORDS,
  read_official,
  same,
)
from tests.support.scripts import run_python
from tests.support.torch_writer import WRITERS, Parameter, Storage, whole

FILE = {"input": "weights.npz", "config": "model.json"}


def write_files(folder, official):
  np.savez(folder / "weights.npz", **official.weights)
  (folder / "model.json").write_text(official.json)


@pytest.fixture
def folder(tmp_path, official):
  """A directory with weights.npz and model.json."""
  write_files(tmp_path, official)
  return tmp_path


def run(folder, **flags):
  return main([f"--{name}={folder / path}" for name, path in flags.items()])


def test_file_to_checkpoint_to_file(variant, tmp_path, capsys):
  write_files(tmp_path, variant)
  flags = {**FILE, "output": "step"}
  assert run(tmp_path, **flags) == 0
  count = sum(v.size for k, v in variant.weights.items() if k != DECODER)
  lines = capsys.readouterr().out.splitlines()
  assert lines[0].endswith(
    f": {len(variant.weights)} tensors, {count:,} parameters"
  )
  assert lines[1].startswith(f"wrote {tmp_path / 'step'}")
  params, meta = checkpoint_params.load_params(tmp_path / "step")
  jax.tree.map(
    np.testing.assert_array_equal,
    params,
    params_from_torch(variant.weights, variant.config),
  )
  assert InterBertConfig(**meta["model"]) == variant.config
  assert meta["source"] == "weights.npz" and meta["step"] == 0
  assert meta["source_sha256"] == file_sha256(tmp_path / "weights.npz")

  assert run(tmp_path, input="step", output="model.safetensors") == 0
  lines = capsys.readouterr().out.splitlines()
  assert lines[0].endswith(
    f": {len(variant.weights)} tensors, {count:,} parameters"
  )
  assert lines[1].startswith(f"wrote {tmp_path / 'model.safetensors'}")
  same(read_weights(tmp_path / "model.safetensors"), variant.weights)
  with safetensors.safe_open(tmp_path / "model.safetensors", "np") as file:
    metadata = file.metadata()
  assert InterBertConfig(**json.loads(metadata["model"])) == variant.config
  assert metadata["step"] == "0" and metadata["format"] == "pt"
  assert sorted(os.listdir(tmp_path)) == [
    "model.json",
    "model.safetensors",
    "step",
    "weights.npz",
  ]


def test_a_downstream_file_gives_what_evaluation_reads(golden_dir, tmp_path):
  """Its checkpoint scores pairs by either head, as the official code does."""
  official = read_official(golden_dir, "pretrain_kl", answers=1)
  golden = dict(np.load(golden_dir / "pretrain_kl.npz"))
  write_files(tmp_path, official)
  flags = {**FILE, "output": "step"}
  assert run(tmp_path, **flags) == 0
  params, meta = checkpoint_params.load_params(tmp_path / "step")
  text = TextInput(*(golden[f"batch/{k}"] for k in TEXT_KEYS))
  regions = RegionInput(*(golden[f"batch/{k}"] for k in REGION_KEYS))
  match = golden["vl_out/vil_binary_prediction"]
  for loss, wanted in (
    ("match", match[:, 0] - match[:, 1]),
    ("choice", golden["vl_out/vil_logit"][:, 0]),
  ):
    model = InterBert(recorded_model(meta["model"], path="step"), SCORES[loss])
    outputs = jax.jit(model.apply)({"params": params}, text, regions)
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(pair_score(outputs), wanted, atol=1e-5 * scale)


@pytest.mark.parametrize("layout", WRITERS)
def test_converts_torch_files(official, folder, layout):
  """As the official script saves them: old LayerNorm names, a tied decoder."""
  state = collections.OrderedDict()
  for i, (name, array) in enumerate(official.weights.items()):
    name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
    name = name.replace("LayerNorm.bias", "LayerNorm.beta")
    state[f"module.{name}"] = whole(i, array)
  words = official.weights[WORDS]
  storage = Storage("words", words)
  for name in (WORDS, DECODER):
    state[f"module.{name}"] = Parameter(
      storage, 0, words.shape, (words.shape[1], 1)
    )
  WRITERS[layout](folder / "model.bin", state)
  flags = {"input": "model.bin", "config": "model.json", "output": "step"}
  assert run(folder, **flags) == 0
  params, meta = checkpoint_params.load_params(folder / "step")
  same(params_to_torch(params, official.config), official.weights)
  assert meta["source"] == "model.bin"


def refused(folder, capsys, *words, **flags):
  before = sorted(folder.rglob("*"))
  assert run(folder, **flags) == 2
  output, errors = capsys.readouterr()
  assert output == "" and errors.startswith("error: "), errors
  for word in words:
    assert word in errors.replace(str(folder), ""), errors
  assert sorted(folder.rglob("*")) == before
  return errors.splitlines()


@pytest.fixture
def step(official, folder):
  params = params_from_torch(official.weights, official.config)
  meta = {"model": dataclasses.asdict(official.config), "step": 7}
  checkpoint_params.save_params(folder / "step", params, meta)
  return folder / "step"


def test_refuses_to_overwrite(folder, step, capsys):
  (folder / "old").mkdir()
  (folder / "old.safetensors").write_text("kept")
  (folder / "link").symlink_to(folder / "nowhere")
  refused(folder, capsys, "/old: exists already", **FILE, output="old")
  refused(folder, capsys, "/link: exists already", **FILE, output="link")
  flags = {"input": "step", "output": "old.safetensors"}
  refused(folder, capsys, "/old.safetensors: exists already", **flags)
  assert (folder / "old.safetensors").read_text() == "kept"


@pytest.mark.parametrize(
  "flags, words",
  [
    ({"input": "absent.bin"}, ["--input=/absent.bin", "no such file"]),
    ({"input": "weights.npz"}, ["/weights.npz is a weights file", "--config"]),
    (
      {**FILE, "output": "x.bin"},
      ["--output=/x.bin", "checkpoint directory"],
    ),
    ({**FILE, "output": "model.json/b"}, ["/b: cannot stand below a file"]),
    ({"input": "step", "config": "model.json"}, ["--config=", "its own model"]),
    ({"input": "step", "output": "x.bin"}, ["--output=/x.bin", "safetensors"]),
    (
      {"input": "step/params", "output": "x.safetensors"},
      ["/step/params: not a checkpoint"],
    ),
    ({"input": "model.json", "config": "model.json"}, ["text file"]),
    ({"input": "weights.npz", "config": "absent"}, ["--config=/absent:"]),
    ({"input": "weights.npz", "config": "weights.npz"}, ["--config=/weights"]),
  ],
)
def test_mistakes_take_one_line(folder, step, capsys, flags, words):
  lines = refused(folder, capsys, *words, **{"output": "new", **flags})
  assert len(lines) == 1


def test_refuses_strange_values_in_the_configuration(folder, capsys):
  flags = {**FILE, "output": "new"}
  good = json.loads((folder / "model.json").read_text())
  for heads, word in (
    (0, "num_heads is 0"),
    ("4", "num_heads is '4'; wanted a whole number"),
    (5, "48"),
  ):
    changed = {**good, "num_attention_heads": heads}
    (folder / "model.json").write_text(json.dumps(changed))
    refused(folder, capsys, "--config=/model.json: ", word, **flags)


def test_weights_of_another_model_leave_nothing(folder, official, capsys):
  weights = dict(official.weights)
  del weights["cls.predictions.bias"]
  write_safetensors(folder / "bad.safetensors", weights)
  flags = {"input": "bad.safetensors", "config": "model.json", "output": "new"}
  words = ["/bad.safetensors with /model.json", "missing: cls.predictions.bias"]
  assert len(refused(folder, capsys, *words, **flags)) == 2


def test_checkpoint_of_another_model_leaves_nothing(
  folder, official, step, capsys
):
  params, meta = checkpoint_params.load_params(step)
  del params["mlm_head"]["bias"]
  checkpoint_params.save_params(folder / "other", params, meta)
  flags = {"input": "other", "output": "new.safetensors"}
  refused(folder, capsys, "/other: ", "missing: mlm_head/bias", **flags)


def test_failed_write_leaves_nothing(folder, capsys, monkeypatch):
  def fail(path, params, meta):
    pathlib.Path(path).mkdir()
    (path.parent / f"{path.name}.half").write_text("half")
    raise OSError(errno.ENOSPC, "No space left on device")

  monkeypatch.setattr(checkpoint_params, "save_params", fail)
  before = sorted(folder.rglob("*"))
  flags = {**FILE, "output": "new"}
  assert run(folder, **flags) == 2
  assert "No space left" in capsys.readouterr().err
  assert sorted(folder.rglob("*")) == before


def test_traceback_on_request(folder, monkeypatch, capsys):
  monkeypatch.setenv("INTERBERT_TRACEBACK", "1")
  assert run(folder, input="absent.bin", output="new") == 2
  said = capsys.readouterr().err
  assert said.startswith("Traceback") and "absent.bin: no such file" in said


def test_runs_from_the_shell(folder, official):
  command = (
    *("-m", "interbert_jax.convert_torch"),
    f"--input={folder / 'weights.npz'}",
    f"--config={folder / 'model.json'}",
    f"--output={folder / 'step'}",
  )
  done = run_python(*command, env={"JAX_PLATFORMS": None})
  assert done.returncode == 0 and done.stderr == "", done.stderr
  params, _ = checkpoint_params.load_params(folder / "step")
  same(params_to_torch(params, official.config), official.weights)
  done = run_python(*command, env={"JAX_PLATFORMS": None})
  assert done.returncode == 2 and done.stdout == ""
  assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
