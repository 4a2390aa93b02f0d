"""Official files: converted, then scored by the eval scripts, no run needed."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from configs import finetune_vcr, finetune_vqa, pretrain_en
from input_pipeline.tasks.retrieval import retrieval_set
from interbert_jax import convert_torch
from interbert_jax.app import build, evaluate
from interbert_jax.app.eval_settings import TaskReport
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.contract import json_file
from interbert_jax.contract.errors import CheckpointError, ConfigError
from interbert_jax.model.config import make_config
from interbert_jax.model.interbert import InterBert
from interbert_jax.tasks.settings import SCORES
from interbert_jax.weights.official import params_from_torch
from interbert_jax.weights.official_config import official_config
from interbert_jax.weights.official_names import official_tensors
from tests.support.plain_scores import plain_scores
from tests.support.random_run import one_device
from tests.support.result_schema import read_result
from tests.support.scripts import run_python, run_script
from tests.support.tiny_data import TINY_MODEL, VOCAB, C, E, caption_files
from tests.support.tiny_questions import WORDS, write_vcr, write_vqa
from tests.support.tiny_task import NO_DROPOUT
from tests.support.torch_writer import whole as tensor
from tests.support.torch_writer import write_legacy, write_zip

# What people publish: the writer, and what is around the tensors.
FILES = {
  "plain": (write_zip, lambda state: state),
  "data_parallel": (
    write_legacy,
    lambda state: {f"module.{key}": value for key, value in state.items()},
  ),
  "with_optimizer": (
    write_zip,
    lambda state: {"model": state, "optimizer": {"lr": 1e-4}, "epoch": 3},
  ),
}


def small_model(words):
  return make_config(
    "tiny",
    vocab_size=len(words),
    region_feature_dim=E,
    num_region_classes=C,
    **TINY_MODEL,
    **NO_DROPOUT,
  )


def random_state(model, *, answers):
  """A state dict as the official code names it; None answers: pretraining."""
  rng = np.random.default_rng(0)
  return {
    t.name: rng.normal(
      t.name.endswith("LayerNorm.weight"), 0.3, t.torch_shape
    ).astype(np.float32)
    for t in official_tensors(model, answers)
  }


def converted(folder, model, *, answers=None, kind="plain", flags=()):
  """Writes an official file and converts it; (state dict, checkpoint)."""
  state = random_state(model, answers=answers)
  write, wrap = FILES[kind]
  tensors = {k: tensor(n, v) for n, (k, v) in enumerate(state.items())}
  write(folder / "pytorch_model_14.bin", wrap(tensors))
  json_file.write_json(folder / "official.json", official_config(model))
  output = folder / "official" / "0"
  output.parent.mkdir()
  done = convert_torch.main(
    [
      f"--input={folder / 'pytorch_model_14.bin'}",
      f"--config={folder / 'official.json'}",
      f"--output={output}",
      *flags,
    ]
  )
  assert done == 0
  return state, output


def opened(checkpoint, config, files):
  for key in set(files) - {"split", "seed"}:
    value = files[key]
    config.input[key] = value if isinstance(value, int) else str(value)
  config.evals.batch_size = 8
  return TrainedRun(None, checkpoint=str(checkpoint), changes=[], config=config)


@pytest.mark.parametrize("kind", FILES)
def test_retrieval_of_a_published_file(kind, tmp_path):
  """Two commands; the scores are those of the plain forward pass."""
  files = caption_files(tmp_path)
  model = small_model(VOCAB)
  answers = 1 if kind == "plain" else None  # a downstream file has the head too
  state, checkpoint = converted(tmp_path, model, kind=kind, answers=answers)
  where = [
    f"--config.input.{key}={files[key]}"
    for key in ("store", "annotations", "vocab")
  ]
  run_script(
    "eval_retrieval.py",
    "--config=configs/finetune_flickr30k.py",
    f"--checkpoint={checkpoint}",
    *where,
    f"--set=input.max_regions={files['max_regions']}",
    f"--config.input.max_text_length={files['max_text_length']}",
    "--split=val",
    f"--ranks={tmp_path / 'ranks.jsonl'}",
    "--top=3",
  )
  result = read_result(checkpoint.parent / "eval" / "retrieval_val_0.json")
  assert result["model_config"]["dtype"] == "float32"  # as the weights are
  settings = opened(checkpoint, pretrain_en.get_config(), files).settings
  pairs = retrieval_set(settings.input, "val")
  sides = {
    side: {key: getattr(pairs, key) for key in keys}
    for side, keys in (
      ("images", build._IMAGE_KEYS),
      ("texts", build._TEXT_KEYS),
    )
  }
  scores = plain_scores(
    InterBert(model, SCORES["match"]),
    params_from_torch(state, model),
    **sides,
  )
  rows = map(json.loads, (tmp_path / "ranks.jsonl").read_text().splitlines())
  found = {
    row["query"]: row["top"]
    for row in rows
    if row["direction"] == "image_retrieval"
  }
  wanted = np.argsort(-scores, axis=1)[:, :3]
  assert found == {
    n: [pairs.image_ids[i] for i in images] for n, images in enumerate(wanted)
  }
  assert np.ptp(scores) > 0.1


def test_vcr_of_a_downstream_file(tmp_path):
  files, _, _ = write_vcr(tmp_path)
  model = small_model(WORDS)
  vocab = f"--vocab={files['vocab']}"
  state, checkpoint = converted(tmp_path, model, answers=1, flags=[vocab])
  run = opened(checkpoint, finetune_vcr.get_config(), files)
  file = tmp_path / "scores.jsonl"
  settings = TaskReport(split="val", scores=str(file))
  result = evaluate.evaluate_run(run, settings, one_device())
  data = build.find_task(run.settings).data(run.settings, "val")
  task = run.task(data.info)
  (batch,) = data.eval_batches(batch_size=16)
  inputs = task.prepare(batch, jax.random.key(0), train=False)
  params = params_from_torch(state, model)
  params = {key: params[key] for key in ("encoder", "choice_head")}
  outputs = jax.jit(InterBert(model, {"choice_head": 1}).apply)(
    {"params": params},
    inputs.text,
    jax.tree.map(lambda x: np.repeat(x, 4, axis=0), inputs.regions),
  )
  scores = np.asarray(outputs["choice_head"]).reshape(-1, 4)[:10]
  rows = [json.loads(line) for line in file.read_text().splitlines()]
  found = np.stack(
    [row[key] for row in rows for key in ("answer", "rationale")]
  )
  np.testing.assert_allclose(found, scores, atol=1e-5)
  right = scores.argmax(1).reshape(-1, 2) == data.labels
  assert result["metrics"]["Q->AR"] == pytest.approx(right.all(1).mean())


def test_weights_of_another_task_are_refused(tmp_path):
  """A pretraining file has no head of VCR; one answer is none of VQA."""
  (tmp_path / "a").mkdir()
  (tmp_path / "b").mkdir()
  files, _, _ = write_vcr(tmp_path)
  _, checkpoint = converted(tmp_path / "a", small_model(WORDS))
  run = opened(checkpoint, finetune_vcr.get_config(), files)
  with pytest.raises(CheckpointError, match="has no choice_head .*match_head"):
    evaluate.evaluate_run(run, TaskReport(split="val"), one_device())
  files = write_vqa(tmp_path / "b")
  words = files["vocab"].read_text().splitlines()
  _, checkpoint = converted(tmp_path / "b", small_model(words), answers=1)
  run = opened(checkpoint, finetune_vqa.get_config(), files)
  with pytest.raises(CheckpointError, match="are not those of the checkpoint"):
    evaluate.evaluate_run(run, TaskReport(split="val"), one_device())


def test_vocabulary_and_widths_are_compared(tmp_path, capsys):
  files = caption_files(tmp_path)
  _, checkpoint = converted(tmp_path, small_model(VOCAB))
  run = opened(checkpoint, pretrain_en.get_config(), files)
  assert "only the number of words" in capsys.readouterr().err
  run.check_width(E)
  with pytest.raises(ConfigError, match=f"have {E + 1} numbers, .* {E};"):
    run.check_width(E + 1)
  longer = tmp_path / "longer.txt"
  longer.write_text(files["vocab"].read_text() + "more\n")
  with pytest.raises(CheckpointError, match="has 17 lines, the model 16 words"):
    opened(checkpoint, pretrain_en.get_config(), {**files, "vocab": longer})


def test_a_recorded_vocabulary_is_the_only_one(tmp_path):
  files = caption_files(tmp_path)
  vocab = f"--vocab={files['vocab']}"
  _, checkpoint = converted(tmp_path, small_model(VOCAB), flags=[vocab])
  other = tmp_path / "other.txt"
  other.write_text(files["vocab"].read_text().replace("dog", "hog"))
  run = opened(checkpoint, pretrain_en.get_config(), {**files, "vocab": other})
  info = build.find_task(run.settings).data(run.settings, "val").info
  with pytest.raises(CheckpointError, match="is not the vocabulary"):
    run.task(info)


def test_what_must_be_named(tmp_path):
  """Weights as a workdir, a run's step for weights, neither of the two."""
  _, checkpoint = converted(tmp_path, small_model(VOCAB))
  for flags, words in (
    ([f"--workdir={checkpoint}"], "holds weights, and no run"),
    ([f"--workdir={checkpoint.parent}"], "config.json: not found"),
    (["--config=configs/pretrain_en.py"], "--checkpoint=latest: with --config"),
    ([], "workdir"),
  ):
    done = run_python("eval_retrieval.py", *flags)
    assert done.returncode == 2 and words in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_region_features_have_their_width_in_the_official_file():
  model = dataclasses.replace(small_model(VOCAB), region_target="features")
  assert official_config(model)["v_target_size"] == E
