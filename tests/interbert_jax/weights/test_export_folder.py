"""An exported folder is the checkpoint: all of it, checked, or nothing."""

import dataclasses
import errno
import hashlib
import json
import os
import subprocess

import jax
import numpy as np
import pytest
import safetensors.numpy

from interbert_jax.checkpoints import params as checkpoint_params
from interbert_jax.contract.errors import CheckpointError
from interbert_jax.contract.json_file import dumps, write_json
from interbert_jax.export import main
from interbert_jax.weights import export_folder
from interbert_jax.weights.export_folder import load_export
from interbert_jax.weights.init_from import read_init
from interbert_jax.weights.official import params_from_torch
from interbert_jax.weights.official_config import config_from_official
from interbert_jax.weights.weights_file import read_weights
from tests.support.official_weights import same

WORDS = b"".join(b"word%d\n" % i for i in range(120))
SHA256 = hashlib.sha256(WORDS).hexdigest()
FILES = ["README.md", "SHA256SUMS", "config.json", "model.safetensors"]


def save(folder, variant, **meta):
  """A run's workdir with one checkpoint; returns the tree of parameters."""
  params = params_from_torch(variant.weights, variant.config)
  meta = {
    "model": dataclasses.asdict(variant.config),
    "vocab_sha256": SHA256,
    "data_fingerprint": "f00d",
    "batch_size": 64,
    "seed": 3,
    "step": 40,
    **meta,
  }
  checkpoint_params.save_params(folder / "run/checkpoints/40", params, meta)
  (folder / "v.txt").write_bytes(WORDS)
  return params


def export(folder, *flags, checkpoint="run/checkpoints/40", vocab="v.txt"):
  return main(
    [
      f"--checkpoint={folder / checkpoint}",
      f"--vocab={folder / vocab}",
      f"--output={folder / 'out'}",
      *flags,
    ]
  )


def test_the_folder_is_the_checkpoint(variant, tmp_path, capsys):
  params = save(tmp_path, variant)
  assert export(tmp_path) == 0
  out = tmp_path / "out"
  assert f"{out / 'model.safetensors'}: " in capsys.readouterr().out
  assert sorted(os.listdir(out)) == [*FILES, "vocab.txt"]
  assert sorted(os.listdir(tmp_path)) == ["out", "run", "v.txt"]
  assert (out / "vocab.txt").read_bytes() == WORDS

  found, facts = load_export(out)
  jax.tree.map(np.testing.assert_array_equal, found, params)
  assert facts["model"] == dataclasses.asdict(variant.config)
  assert (facts["format"], facts["format_version"]) == ("interbert-jax", 1)
  assert (facts["step"], facts["data_fingerprint"]) == (40, "f00d")
  names = safetensors.numpy.load_file(out / "model.safetensors")
  assert any(
    n.endswith("encoder.text_embeddings.word_embeddings.embedding")
    for n in names
  )
  # And it starts a run, whole or as a bare file.
  found, report = read_init(
    str(out), params, config=variant.config, vocab_sha256=SHA256
  )
  jax.tree.map(np.testing.assert_array_equal, found, params)
  assert (report.format, report.notes) == ("export", ())
  (tmp_path / "bare").mkdir()
  os.rename(out / "model.safetensors", tmp_path / "bare/weights.safetensors")
  found, report = read_init(
    str(tmp_path / "bare"), params, config=variant.config
  )
  jax.tree.map(np.testing.assert_array_equal, found, params)
  assert report.format == "export" and len(report.notes) == 2


def test_the_official_names_are_exact(variant, tmp_path):
  save(tmp_path, variant)
  assert export(tmp_path, "--official") == 0
  same(read_weights(tmp_path / "out/official.safetensors"), variant.weights)
  config = config_from_official(tmp_path / "out/official.json")
  assert config == dataclasses.replace(
    variant.config, num_region_classes=config.num_region_classes
  )


def test_the_checksums_are_right(official, tmp_path):
  save(tmp_path, official)
  assert export(tmp_path, "--official") == 0
  done = subprocess.run(
    ["sha256sum", "-c", "SHA256SUMS"],
    cwd=tmp_path / "out",
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.count(": OK") == 5


def test_the_card_says_what_is_known(official, tmp_path):
  save(tmp_path, official)
  run = tmp_path / "run"
  write_json(run / "config.json", {"language": "zh"})
  start = {"path": "/home/me/all-minilm", "format": "bert"}
  write_json(run / "init_report.json", start)
  rows = [
    {"step": 20, "val/loss": 9.0},
    {"step": 40, "loss": 5.0},
    {"step": 40, "val/loss": 3.25, "val/none": None},
  ]
  (run / "metrics.jsonl").write_text("".join(dumps(r) + "\n" for r in rows))
  for step in (20, 40):
    write_json(
      run / f"eval/retrieval_{step}.json",
      {"step": step, "split": "test", "metrics": {"recall": step / 100}},
    )
  assert export(tmp_path) == 0
  card = (tmp_path / "out/README.md").read_text()
  for line in (
    "language: zh",
    "license: # fill in: that of the data and of the weights it started from",
    "| steps | 40 |",
    "| started from | all-minilm (bert) |",
    "| batch size | 64 |",
    "| data fingerprint | f00d |",
    f"| vocabulary sha256 | {SHA256} |",
    "| val/loss | 3.25 | during training |",
    "| test/recall | 0.4 | retrieval_40.json |",
    f"| hidden_size | {official.config.hidden_size} |",
  ):
    assert line in card.splitlines(), line
  assert "9" not in card.partition("## Metrics")[2].partition("## Arch")[0]
  assert "retrieval_20" not in card and "/home/me" not in card
  count = sum(v.size for v in official.weights.values())
  count -= official.weights["cls.predictions.decoder.weight"].size
  assert f"{count:,} parameters" in card


def test_the_vocabulary_is_the_one_of_the_training(official, tmp_path, capsys):
  save(tmp_path, official)
  (tmp_path / "v.txt").write_bytes(WORDS.removesuffix(b"\n"))
  assert export(tmp_path) == 0
  assert (tmp_path / "out/vocab.txt").read_bytes() == WORDS
  (tmp_path / "other.txt").write_bytes(WORDS.replace(b"word7", b"word07"))
  (tmp_path / "short.txt").write_bytes(WORDS[:-8])
  os.rename(tmp_path / "out", tmp_path / "old")
  capsys.readouterr()
  for vocab, words in (
    ("other.txt", (SHA256[:12], "name that vocabulary")),
    ("short.txt", ("has 119 lines, the model 120 words",)),
    ("none.txt", ("no such file",)),
  ):
    assert export(tmp_path, vocab=vocab) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and str(tmp_path / vocab) in error
    assert all(word in error for word in words), error
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_a_converted_checkpoint_knows_no_vocabulary(official, tmp_path):
  save(tmp_path, official, vocab_sha256=None, source="pytorch_model_14.bin")
  assert export(tmp_path) == 0
  facts = json.loads((tmp_path / "out/config.json").read_text())
  assert facts["vocab_sha256"] == SHA256
  assert (
    "| started from | pytorch_model_14.bin |"
    in (tmp_path / "out/README.md").read_text()
  )


def test_refuses_to_overwrite_and_leaves_nothing_behind(
  official, tmp_path, capsys, monkeypatch
):
  save(tmp_path, official)

  def fail(*_):
    raise OSError(errno.ENOSPC, "No space left on device")

  with monkeypatch.context() as patch:
    patch.setattr(export_folder, "write_safetensors", fail)
    assert export(tmp_path) == 2
  assert sorted(os.listdir(tmp_path)) == ["run", "v.txt"]
  (tmp_path / "out").mkdir()
  assert export(tmp_path) == 2
  assert "exists already" in capsys.readouterr().err
  assert os.listdir(tmp_path / "out") == []
  flags = {"checkpoint": "run"}
  os.rmdir(tmp_path / "out")
  assert export(tmp_path, **flags) == 2
  assert "not a checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["model.safetensors", "vocab.txt"])
def test_a_changed_file_is_refused(official, tmp_path, name):
  params = save(tmp_path, official)
  assert export(tmp_path) == 0
  path = tmp_path / "out" / name
  data = bytearray(path.read_bytes())
  data[-3] ^= 1
  path.write_bytes(data)
  for read in (
    lambda: load_export(tmp_path / "out"),
    lambda: read_init(str(tmp_path / "out"), params, config=official.config),
  ):
    with pytest.raises(CheckpointError, match=f"{name}: has sha256"):
      read()


def test_a_later_version_is_refused(official, tmp_path):
  save(tmp_path, official)
  assert export(tmp_path) == 0
  facts = json.loads((tmp_path / "out/config.json").read_text())
  write_json(tmp_path / "out/config.json", {**facts, "format_version": 2})
  with pytest.raises(CheckpointError, match="format_version is 2, this code"):
    load_export(tmp_path / "out")


def test_a_model_from_before_a_field_was_there(official, tmp_path, capsys):
  """The field has its default, and one line says so."""
  model = dataclasses.asdict(official.config)
  del model["fusion"]
  params = save(tmp_path, official, model=model)
  step = tmp_path / "run/checkpoints/40"
  for path in (step, tmp_path / "out"):
    if path != step:
      assert export(tmp_path) == 0
      facts = json.loads((path / "config.json").read_text())
      assert facts["model"] == dataclasses.asdict(official.config)
      (path / "SHA256SUMS").unlink()
      write_json(path / "config.json", {**facts, "model": model})
    capsys.readouterr()
    found, _ = read_init(str(path), params, config=official.config)
    jax.tree.map(np.testing.assert_array_equal, found, params)
    (line,) = capsys.readouterr().err.splitlines()
    assert "has no fusion = product yet: the default is taken" in line
    # The default is what such weights were trained with.
    other = dataclasses.replace(official.config, fusion="sum")
    with pytest.raises(CheckpointError, match="fusion is 'product' there"):
      read_init(str(path), params, config=other)


@pytest.mark.parametrize(
  ("model", "words"),
  [
    ({"fusoin": "sum"}, "model.fusoin is no key; did you mean model.fusion"),
    ({"depth": 3}, "model.depth is no key"),
    (None, "wanted an object with the fields"),
  ],
)
def test_a_model_with_fields_that_are_not_known(
  official, tmp_path, capsys, model, words
):
  if model:
    model = {**dataclasses.asdict(official.config), **model}
  params = save(tmp_path, official, model=model)
  assert export(tmp_path) == 2
  assert words in capsys.readouterr().err
  if model:
    path = str(tmp_path / "run/checkpoints/40")
    with pytest.raises(CheckpointError, match=words):
      read_init(path, params, config=official.config)
