"""Damaged checkpoints are found, named, and passed over for older ones."""

import json
import logging
import os
import shutil
import typing

import jax
import numpy as np
import pytest

from bench.damage import KINDS, damage
from interbert_jax.checkpoints import manifest
from interbert_jax.checkpoints.checkpoints import Checkpoints
from interbert_jax.checkpoints.params import load_params
from interbert_jax.checkpoints.settings import CheckpointSettings
from interbert_jax.checkpoints.stored_step import StoredStep
from interbert_jax.contract.errors import CheckpointError, DataError
from interbert_jax.run.metric_writer import read_metrics
from tests.support.line_task import train_line

KEEP = {"save_every": 2, "keep_latest": 9, "best_metric": ""}


def train(workdir, **changes):
  return train_line(
    workdir, **{"total_steps": 6, "checkpoint_config": KEEP, **changes}
  )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """Six steps, of which 2, 4 and 6 are saved."""
  workdir = tmp_path_factory.mktemp("trained")
  train(workdir)
  return workdir


@pytest.fixture
def workdir(trained, tmp_path):
  shutil.copytree(trained, tmp_path / "run")
  return tmp_path / "run"


@pytest.fixture
def said(caplog):
  """What is said of checkpoints."""
  with caplog.at_level(logging.WARNING, "interbert_jax.checkpoints"):
    yield lambda: "\n".join(
      record.getMessage()
      for record in caplog.records
      if record.name == "interbert_jax.checkpoints"
    )


def params(workdir, step):
  return load_params(workdir / "checkpoints" / str(step))[0]


def logged(workdir):
  return [row["step"] for row in read_metrics(workdir) if "loss" in row]


def same(one, other):
  jax.tree.map(np.testing.assert_array_equal, one, other)


def file_of(workdir, step):
  """The file of the step with the most parameters in it."""
  files = (workdir / f"checkpoints/{step}/params").rglob("d/*")
  return max(files, key=lambda path: path.stat().st_size)


@pytest.mark.parametrize("kind", KINDS)
def test_the_newest_whole_step_is_taken(kind, workdir, trained, said, capsys):
  file = file_of(workdir, 6)
  damage(file, kind)
  train(workdir)
  name = file.relative_to(workdir / "checkpoints/6")
  assert f"{workdir}/checkpoints/6 is damaged: {name}: " in said()
  assert "; taking step 4" in said()
  assert "from the checkpoint of step 4" in capsys.readouterr().err
  # It has made steps 5 and 6 again, and the damaged files are kept.
  same(params(workdir, 6), params(trained, 6))
  assert (workdir / "set_aside/6").is_dir()
  assert logged(workdir) == [2, 4, 6]


def test_no_file_is_read_that_was_not_checked(workdir):
  """Every file of a step, damaged alone, is found or has nothing to say."""
  folder = workdir / "checkpoints/6"
  files = sorted(path for path in folder.rglob("*") if path.is_file())
  assert len(files) > 15
  for file in files:
    content = file.read_bytes()
    damage(file, "flip")
    with Checkpoints(workdir / "checkpoints", create=False) as checkpoints:
      found = StoredStep(checkpoints.manager, 6).damage()
    if not found:
      assert file.name in ("commit_success.txt", "_CHECKPOINT_METADATA")
      same(load_params(folder)[0], params(workdir, 6))
    file.write_bytes(content)


def test_without_a_whole_step_nothing_starts(workdir):
  for step in (2, 4, 6):
    damage(file_of(workdir, step), "empty")
  with pytest.raises(CheckpointError) as error:
    train(workdir)
  for part in (
    f"refusing to start from step 0: {workdir}/checkpoints has 3 unreadable "
    "checkpoints:",
    f"{workdir}/checkpoints/2 is damaged: params/",
    "--config.restart=True",
  ):
    assert part in str(error.value)
  assert sorted(p.name for p in (workdir / "checkpoints").iterdir()) == [
    "2",
    "4",
    "6",
  ]
  train(workdir, restart=True, total_steps=2)
  old = workdir.with_name("run.old1")
  assert (old / "checkpoints/6").is_dir() and (old / "metrics.jsonl").is_file()
  assert logged(workdir) == [2]


def test_a_step_can_be_asked_for(workdir, trained, capsys):
  train(workdir, resume_step=2)
  assert "from the checkpoint of step 2" in capsys.readouterr().err
  same(params(workdir, 6), params(trained, 6))
  assert sorted(p.name for p in (workdir / "set_aside").iterdir()) == ["4", "6"]


def test_a_step_that_is_asked_for_must_be_whole(workdir):
  damage(file_of(workdir, 4), "truncate")
  with pytest.raises(CheckpointError) as error:
    train(workdir, resume_step=4)
  assert "/4 is damaged: " in str(error.value)
  assert "steps there are: [2, 4, 6]" in str(error.value)
  with pytest.raises(CheckpointError, match=r"no checkpoint '3'.*\[2, 4, 6\]"):
    train(workdir, resume_step=3)


def test_parameters_alone_are_checked_too(workdir):
  damage(file_of(workdir, 6), "flip")
  with pytest.raises(CheckpointError, match="6 is damaged: params/.*checksum"):
    params(workdir, 6)
  shutil.rmtree(workdir / "checkpoints/4/train")  # which it does not read
  params(workdir, 4)


def test_another_model_is_no_damage(workdir):
  """A mistake in the configuration must not hide behind an older step."""
  with pytest.raises(CheckpointError, match="6 was saved by another config"):
    train(workdir, ema_decay=0.9)
  assert not (workdir / "set_aside").exists()


def test_a_step_of_other_software_is_no_traceback(workdir):
  """Its checksums fit, and Orbax does not know its lists of arrays."""
  step = workdir / "checkpoints/6"
  for name in ("params", "train"):
    (step / name / "_METADATA").write_text("{}")
  manifest.write_manifest(step)
  with pytest.raises(CheckpointError, match="/checkpoints/6"):
    train(workdir)


def test_other_versions_are_said(workdir, said):
  path = workdir / "checkpoints/6/meta/metadata"
  meta = json.loads(path.read_text())
  meta["versions"]["jax"] = "0.0.1"
  path.write_text(json.dumps(meta))
  manifest.write_manifest(workdir / "checkpoints/6")
  train(workdir)
  assert f"was written by jax 0.0.1; this is jax {jax.__version__}" in said()


def test_unfinished_saves_are_said_and_removed(workdir, said):
  left = workdir / "checkpoints/8.orbax-checkpoint-tmp"
  (left / "params").mkdir(parents=True)
  train(workdir)
  assert f"ignoring unfinished checkpoint {left}" in said()
  assert not left.exists()


def test_a_step_half_deleted_is_none(workdir, trained, said):
  """A kill while an old step was being removed."""
  shutil.rmtree(workdir / "checkpoints/4/params")
  damage(file_of(workdir, 6), "delete")
  train(workdir)
  assert "; taking step 2" in said()
  same(params(workdir, 6), params(trained, 6))


def _write(name, data):
  def write(workdir):
    (workdir / name).write_bytes(data)

  return write


@pytest.mark.parametrize(
  "odd",
  [
    _write("checkpoints/.DS_Store", b"\0\1"),
    _write("checkpoints/5", b""),
    lambda workdir: (workdir / "checkpoints/5").mkdir(),
    lambda workdir: (workdir / "checkpoints/6 copy").mkdir(),
    lambda workdir: (workdir / "checkpoints/5").symlink_to("nothing"),
    _write("checkpoints/_ROOT_METADATA", b"{"),
    _write("metrics.jsonl", b"\xff{}\n[1]\n{}\n"),
    _write("starts.jsonl", b"\xff{}\n[1]\n{}\n"),
  ],
)
def test_odd_files_are_no_traceback(odd, workdir, trained):
  odd(workdir)
  train(workdir, total_steps=8)
  same(params(workdir, 6), params(trained, 6))
  assert logged(workdir)[-1] == 8


@pytest.mark.parametrize("text", ["[]", '{"item_handlers": 5}'])
def test_an_odd_note_of_orbax_is_named(text, workdir):
  (workdir / "checkpoints/6/_CHECKPOINT_METADATA").write_text(text)
  with pytest.raises(CheckpointError, match="_CHECKPOINT_METADATA"):
    train(workdir)


def test_a_pipe_among_the_files_is_not_waited_for(workdir):
  path = workdir / "checkpoints/6/_CHECKPOINT_METADATA"
  path.unlink()
  os.mkfifo(path)
  with pytest.raises(DataError, match="no regular file"):
    train(workdir)


def test_a_file_in_place_of_the_checkpoints(tmp_path):
  (tmp_path / "checkpoints").write_text("")
  with pytest.raises(CheckpointError, match="wanted a directory"):
    train(tmp_path)


class Falling:
  """An evaluation that is best at its second time, over all starts."""

  values: typing.ClassVar = [0.9, 0.1, 0.5, 0.4]

  def run(self, params, on_batch):
    return {"loss": self.values.pop(0)}


def test_the_best_step_stays_the_best_after_a_restart(tmp_path):
  options = {
    "eval_every": 2,
    "evaluators": {"val": Falling()},
    "checkpoint_config": {
      "save_every": 2,
      "keep_latest": 1,
      "best_metric": "val/loss",
      "best_mode": "min",
    },
  }
  train(tmp_path, total_steps=4, **options)
  train(tmp_path, total_steps=8, **options)
  with Checkpoints(
    tmp_path / "checkpoints",
    CheckpointSettings(best_metric="val/loss", best_mode="min"),
    create=False,
  ) as checkpoints:
    assert (checkpoints.steps, checkpoints.choose("best")) == ([4, 8], 4)


def test_another_metric_can_become_the_best_one(tmp_path):
  """Steps that were saved for the metric before have none of the new one."""

  class Both:
    def run(self, params, on_batch):
      return {"loss": 0.5, "acc": 0.5}

  settings = {"save_every": 2, "keep_latest": 1}
  options = {"eval_every": 2, "evaluators": {"val": Both()}}
  for steps, metric in ((4, "val/loss"), (8, "val/acc")):
    config = {**settings, "best_metric": metric}
    train(tmp_path, total_steps=steps, checkpoint_config=config, **options)
  folder = tmp_path / "checkpoints"

  def best(metric):
    settings = CheckpointSettings(best_metric=metric)
    with Checkpoints(folder, settings, create=False) as checkpoints:
      return checkpoints.choose("best")

  assert best("val/acc") in (6, 8)
  with pytest.raises(CheckpointError, match="metric 'val/nope'.*val/acc"):
    best("val/nope")
  with pytest.raises(CheckpointError, match="no checkpoint.best_metric"):
    best("")


def test_room_is_asked_for_where_it_is_short(tmp_path):
  with Checkpoints(tmp_path) as checkpoints:
    assert "make room" not in checkpoints._why("a wire is loose")
    assert "make room" in checkpoints._why("no space left on the disk")


def test_a_renamed_step_is_named_and_put_aside(workdir, trained, said):
  folder = workdir / "checkpoints"
  (folder / "4").rename(folder / "44")
  with pytest.raises(CheckpointError, match="44: holds step 4, .* renamed"):
    load_params(folder / "44")
  train(workdir, total_steps=8)
  assert "44: holds step 4" in said()
  assert (workdir / "set_aside/44").is_dir()
  assert logged(workdir)[-1] == 8


def test_metrics_of_before_are_read(tmp_path):
  """Orbax wrote them with the step; a step has its own file of ours now."""
  settings = CheckpointSettings(best_metric="val/acc")
  train(tmp_path, total_steps=6)
  folder = tmp_path / "checkpoints"
  for step, value in ((2, 0.9), (4, 0.2)):
    place = folder / str(step) / "metrics"
    place.mkdir()
    (place / "metrics").write_text(json.dumps({"val/acc": value}))
    manifest.write_manifest(folder / str(step))
  with Checkpoints(folder, settings) as checkpoints:
    assert checkpoints.choose("best") == 2
    checkpoints.record(6, {"val/acc": 1.0})
    checkpoints.record(4, {"val/acc": 2.0})
  with Checkpoints(folder, settings, create=False) as checkpoints:
    assert checkpoints.choose("best") == 4
    assert not StoredStep(checkpoints.manager, 4).damage()
  damage(folder / "4/evaluation.json", "flip")
  with Checkpoints(folder, settings, create=False) as checkpoints:
    assert checkpoints.choose("best") == 6
    assert "evaluation.json" in StoredStep(checkpoints.manager, 4).damage()
