"""What may change between two starts of a run, and what may not."""

import dataclasses

import pytest

from configs import quickstart
from interbert_jax.contract.errors import CheckpointError
from interbert_jax.model.config import make_config, recorded_model
from interbert_jax.training import resume
from interbert_jax.training.plots import plot_losses
from interbert_jax.training.resume import check_settings, read_starts
from tests.support.line_task import train_line


def settings(**changes):
  config = quickstart.get_config()
  with config.unlocked():
    config.update_from_flattened_dict(changes)
  return config.to_dict()


def test_nothing_changed():
  assert check_settings(settings(), settings()) == []
  # As a checkpoint gives them back: lists for tuples, and 1 for 1.0.
  before = settings()
  before["optim"] |= {"milestones": [], "layer_decay": 1}
  assert check_settings(before, settings()) == []
  assert check_settings(None, settings()) == []


@pytest.mark.parametrize(
  ("key", "value"),
  [
    ("optim.lr", 1e-3),
    ("seed", 1),
    ("train.batch_size", 32),
    ("train.ema_decay", 0.5),
    ("task.mlm_weight", 2.0),
    ("model.hidden_dropout", 0.1),
    ("model.dtype", "bfloat16"),
    ("optim.rate_groups", (("a", 0.5),)),
  ],
)
def test_what_steps_depend_on_may_not_change(key, value):
  with pytest.raises(CheckpointError) as error:
    check_settings(settings(), settings(**{key: value}))
  assert f"\n  {key}: " in str(error.value)
  assert f"--config.allow_changes=\"('{key}',)\"" in str(error.value)
  (line,) = check_settings(settings(), settings(**{key: value}), allow=[key])
  assert line.startswith(f"{key}: ") and " before, " in line


@pytest.mark.parametrize(
  ("key", "value"),
  [
    ("train.steps", 9),
    ("train.log_every", 1),
    ("evals.every", 7),
    ("checkpoint.save_every", 7),
    ("parallel.sharding", "zero1"),
    ("input.store", "/moved"),
    ("model.remat", "full"),
  ],
)
def test_what_they_do_not_depend_on_may(key, value):
  (line,) = check_settings(settings(), settings(**{key: value}))
  assert line.startswith(f"{key}: ")


def test_what_belongs_to_a_start_is_no_change():
  changes = {"restart": True, "resume_step": 4, "allow_changes": ("a",)}
  assert check_settings(settings(), settings(**changes)) == []


def test_several_changes_are_listed_together():
  with pytest.raises(CheckpointError) as error:
    check_settings(
      settings(), settings(**{"optim.lr": 1.0, "seed": 3, "train.steps": 2})
    )
  assert "optim.lr: 0.002 before, 1 now\n  seed: 0 before, 3 now" in str(
    error.value
  )
  assert "\"('optim.lr','seed',)\"" in str(error.value)
  assert "train.steps" not in str(error.value)


def test_settings_are_kept_in_checkpoints(tmp_path, capsys):
  train_line(tmp_path, total_steps=2, config=settings())
  with pytest.raises(CheckpointError, match="optim.lr: 0.002 before, 0.5 now"):
    train_line(tmp_path, total_steps=4, config=settings(**{"optim.lr": 0.5}))
  train_line(
    tmp_path,
    total_steps=4,
    config=settings(**{"optim.lr": 0.5}),
    allow_changes=("optim.",),
  )
  assert "changed: optim.lr: 0.002 before, 0.5 now" in capsys.readouterr().err


def test_another_vocabulary_is_refused_by_name(tmp_path):
  def start(sha256, vocab, **options):
    train_line(
      tmp_path,
      config=settings(**{"input.vocab": vocab}),
      info={"vocab_sha256": sha256},
      **options,
    )

  start("ab", "/a.txt", total_steps=2)
  start("ab", "/moved.txt", total_steps=4)
  with pytest.raises(CheckpointError) as error:
    # Found before the shapes, which differ too.
    start("cd", "/b.txt", total_steps=6, ema_decay=0.5)
  assert ("vocab_sha256: 'ab' before (/moved.txt), 'cd' now (/b.txt)") in str(
    error.value
  )


def test_starts_are_written_and_drawn(tmp_path, monkeypatch):
  for steps in (2, 4, 8):
    train_line(tmp_path, total_steps=steps)
  assert [row["step"] for row in read_starts(tmp_path)] == [0, 2, 4]
  drawn = []
  from matplotlib.axes import Axes

  axvline = Axes.axvline

  def noted(self, x, **style):
    drawn.append(x)
    return axvline(self, x, **style)

  monkeypatch.setattr(Axes, "axvline", noted)
  plot_losses(tmp_path)
  assert drawn == [2, 4] * 3  # in each of the three panels


def test_the_model_of_the_checkpoint(tmp_path, monkeypatch, capsys):
  """Fields that are newer than it have their default; unknown ones end it."""

  def recorded(config, *_):
    model = {**dataclasses.asdict(config), **extra}
    del model["fusion"]
    return {"model": model, "batch_size": 8, "seed": 0}

  monkeypatch.setattr("interbert_jax.training.train.run_meta", recorded)
  for extra in ({}, {"gated": True}):
    train_line(tmp_path / str(len(extra)), total_steps=1)
  train_line(tmp_path / "0", total_steps=2)
  assert (
    "checkpoints/1: its model has no fusion = product"
    in capsys.readouterr().err
  )
  with pytest.raises(
    CheckpointError, match="checkpoints/1: model.gated is no key"
  ):
    train_line(tmp_path / "1", total_steps=2)


def test_a_newer_field_of_the_model_has_its_default_or_is_refused():
  """A run on sums does not go on from what was trained on products."""
  model = make_config("tiny", fusion="sum", remat="full")
  saved = dataclasses.asdict(model)
  del saved["fusion"], saved["remat"]
  recorded = recorded_model(saved, path="checkpoints/7")
  with pytest.raises(CheckpointError, match="model.fusion: product .*sum now"):
    resume._check_newer(saved, recorded, model, allow=())
  resume._check_newer(saved, recorded, model, allow=("model.fusion",))
  resume._check_newer(saved, recorded, recorded, allow=())
