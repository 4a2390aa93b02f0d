"""Every kind of weights starts a run, exactly, or says all that is wrong."""

import dataclasses
import hashlib

import jax
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from interbert_jax.checkpoints import manifest
from interbert_jax.checkpoints import params as checkpoint_params
from interbert_jax.contract.errors import ConfigError
from interbert_jax.parallel import make_parallel
from interbert_jax.training.steps import init_state
from interbert_jax.weights.init_from import read_init
from interbert_jax.weights.official import params_from_torch
from interbert_jax.weights.weights_file import write_safetensors
from tests.support.official_weights import DECODER, flat, read_official, same
from tests.support.torch_refusal import message_of
from tests.support.torch_writer import WRITERS, whole

SHA256 = "c0ffee" + "0" * 58


@pytest.fixture(scope="module")
def downstream(golden_dir):
  return read_official(golden_dir, "pretrain_kl", answers=3)


def tree(variant):
  return params_from_torch(variant.weights, variant.config)


def read(path, variant, wanted=None, **options):
  return read_init(
    str(path),
    tree(variant) if wanted is None else wanted,
    config=variant.config,
    **options,
  )


def save(path, variant, **meta):
  model = dataclasses.asdict(variant.config)
  checkpoint_params.save_params(path, tree(variant), {"model": model, **meta})
  return path


def test_the_moving_average_of_a_checkpoint(official, tmp_path):
  params = tree(official)
  average = jax.tree.map(lambda x: x + 1, params)
  with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
    checkpointer.save(
      tmp_path / "7",
      args=ocp.args.Composite(
        params=ocp.args.StandardSave(params),
        ema=ocp.args.StandardSave(average),
        meta=ocp.args.JsonSave({"step": 7}),
      ),
    )
  manifest.write_manifest(tmp_path / "7")
  same(read(tmp_path / "7", official)[0], params)
  same(read(tmp_path / "7", official, ema=True)[0], average)
  # Where there is none, nothing else is taken for it.
  without = save(tmp_path / "without", official)
  message_of(lambda: read(without, official, ema=True), "no item 'ema'")
  file = tmp_path / "model.safetensors"
  write_safetensors(file, official.weights)
  message_of(
    lambda: read(file, official, ema=True),
    "init.ema is for a checkpoint",
    error=ConfigError,
  )


@pytest.mark.parametrize("kind", ["official", "downstream"])
@pytest.mark.parametrize("suffix", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_official_files_are_exact(request, kind, suffix, prefix, tmp_path):
  variant = request.getfixturevalue(kind)
  path = tmp_path / "weights.bin"
  if suffix == "safetensors":
    named = {prefix + k: v for k, v in variant.weights.items()}
    write_safetensors(path, named)
  else:
    WRITERS[suffix](
      path,
      {
        prefix + k: whole(i, v)
        for i, (k, v) in enumerate(variant.weights.items())
      },
    )
  found, report = read(path, variant)
  same(found, tree(variant))
  assert report.format == "official"
  assert report.random == {}
  assert report.unused == {DECODER: "the word embeddings themselves"}
  assert "taken as 2 of them, then 2 text layers" in report.notes[0]


def test_checkpoints_are_exact(official, tmp_path):
  path = save(tmp_path / "7", official, vocab_sha256=SHA256)
  found, report = read(path, official, vocab_sha256=SHA256)
  same(found, tree(official))
  assert report.format == "checkpoint" and report.notes == ()
  assert report.random == report.unused == {}


def test_heads_come_and_go(official, downstream, tmp_path):
  """Fine-tuning from a pretraining checkpoint, and the other way round."""
  path = save(tmp_path / "7", official)
  found, report = read(path, downstream)
  heads = flat(tree(downstream)).keys() - flat(tree(official)).keys()
  loaded = {k: v for k, v in flat(found).items() if k not in heads}
  same(loaded, flat(tree(official)))
  assert set(report.random) == heads and len(heads) == 8
  assert set(report.random.values()) == {"the file has no such head"}
  assert all(flat(found)[name] is None for name in heads)

  path = save(tmp_path / "8", downstream)
  found, report = read(path, official)
  wanted = flat(tree(downstream)).items()
  same(flat(found), {k: v for k, v in wanted if k not in heads})
  assert set(report.unused) == heads
  assert set(report.unused.values()) == {"the model has no such head"}


def test_downstream_checkpoints_from_before_there_was_one_layout(
  official, downstream, tmp_path
):
  """The pretraining model was a part of the downstream one."""
  params = tree(downstream)
  inner = tree(official)
  old = {k: v for k, v in params.items() if k not in inner}
  old["pretraining"] = inner
  checkpoint_params.save_params(tmp_path / "7", old, {"step": 7})
  path = tmp_path / "old.safetensors"
  write_safetensors(path, flat(old, "."))
  for source in (tmp_path / "7", path):
    found, report = read(source, downstream)
    same(found, params)
    assert report.random == report.unused == {}


def test_parameters_can_be_skipped(official, tmp_path):
  path = save(tmp_path / "7", official)
  wanted = tree(official)
  bias = wanted["region_head"]["decoder"]["bias"]
  wanted["region_head"]["decoder"]["bias"] = np.zeros(len(bias) + 5)
  message_of(
    lambda: read(path, official, wanted),
    "(1 differences)",
    "misshapen: region_head/decoder/bias is (17,), wanted (22,)",
    "config.init.skip",
  )
  found, report = read(path, official, wanted, skip=("region_head/decoder",))
  assert found["region_head"]["decoder"] == {"bias": None, "kernel": None}
  assert set(report.random) == {
    "region_head/decoder/bias",
    "region_head/decoder/kernel",
  }
  assert report.unused["region_head/decoder/bias"].startswith("init.skip")
  everything = tuple(flat(wanted))
  message_of(
    lambda: read(path, official, wanted, skip=everything), "nothing would be"
  )


def test_one_error_lists_all_differences(official, tmp_path):
  weights = dict(official.weights)
  del weights["bert.encoder.layer.1.output.dense.bias"]
  del weights["cls.predictions.bias"]
  weights["bert.encoder.layer.4.output.dense.bias"] = np.zeros(3)
  weights["cls.strange.bias"] = np.zeros(2)
  weights["bert.t_pooler.dense.bias"] = np.full(56, np.inf)
  write_safetensors(tmp_path / "x.safetensors", weights)
  message_of(
    lambda: read(tmp_path / "x.safetensors", official),
    "(5 differences)",
    "missing: encoder/interaction_encoder/layer_1/mlp_out/bias (48,)",
    "missing: mlm_head/bias (120,)",
    "surplus: bert.encoder.layer.4.output.dense.bias (3,)",
    "surplus: cls.strange.bias (2,)",
    "not finite: 56 values of bert.t_pooler.dense.bias",
  )


def test_an_official_configuration_beside_the_weights_counts(
  official, tmp_path
):
  write_safetensors(tmp_path / "model.safetensors", official.weights)
  (tmp_path / "config.json").write_text(official.json)
  vocab = tmp_path / "vocab.txt"
  vocab.write_bytes(b"a\n")
  sha256 = hashlib.sha256(b"a\n").hexdigest()
  found, report = read(tmp_path, official, vocab_sha256=sha256)
  same(found, tree(official))
  assert report.notes == ()
  # The same tensors, split elsewhere: 3 + 1 in place of 2 + 2.
  other = dataclasses.replace(
    official.config, num_interaction_layers=3, num_text_layers=1
  )
  wanted = params_from_torch(official.weights, other)
  message_of(
    lambda: read_init(str(tmp_path), wanted, config=other),
    "num_interaction_layers is 2 there and 3 here",
  )
  (tmp_path / "config.json").write_text("{}")
  _, report = read_init(
    str(tmp_path), wanted, config=other, vocab_sha256=sha256
  )
  assert "taken as 3 of them, then 1 text layers" in report.notes[0]


@pytest.mark.parametrize(
  "change", [{"num_heads": 8}, {"region_num_heads": 4}, {"fusion": "sum"}]
)
def test_other_models_of_the_same_shapes_are_refused(
  official, tmp_path, change
):
  path = save(tmp_path / "7", official)
  other = dataclasses.replace(official.config, **change)
  ((name, value),) = change.items()
  message_of(
    lambda: read_init(str(path), tree(official), config=other),
    "made with another model",
    f"{name} is {getattr(official.config, name)!r} there and {value!r} here",
  )


def test_an_untied_decoder_is_refused(official, tmp_path):
  path = tmp_path / "x.safetensors"
  decoder = official.weights[DECODER] + 1
  write_safetensors(path, {**official.weights, DECODER: decoder})
  words = str(path), DECODER, "no matrix of its"
  message_of(lambda: read(path, official), *words)


def test_vocabularies_must_be_the_same(official, tmp_path):
  words = b"".join(b"word%d\n" % i for i in range(120))
  ours = hashlib.sha256(words).hexdigest()
  (tmp_path / "v.txt").write_bytes(words)
  write_safetensors(tmp_path / "x.safetensors", official.weights)
  path = tmp_path / "x.safetensors"
  _, report = read(path, official, vocab_sha256=ours)
  assert any("only the number of words" in note for note in report.notes)
  _, report = read(
    path, official, vocab_sha256=ours, vocab=str(tmp_path / "v.txt")
  )
  assert len(report.notes) == 1
  # Beside the weights; one final newline more or less is no difference.
  for content in (words, words.removesuffix(b"\n")):
    (tmp_path / "vocab.txt").write_bytes(content)
    for wanted in (words, words.removesuffix(b"\n")):
      sha256 = hashlib.sha256(wanted).hexdigest()
      _, report = read(path, official, vocab_sha256=sha256)
      assert len(report.notes) == 1
  (tmp_path / "vocab.txt").write_bytes(words.replace(b"word7", b"word07"))
  message_of(
    lambda: read(path, official, vocab_sha256=ours),
    str(tmp_path / "vocab.txt"),
    ours[:12],
    "the same ids would be other words",
  )
  # What the weights record counts more than what lies beside them.
  step = save(tmp_path / "7", official, vocab_sha256=ours)
  assert read(step, official, vocab_sha256=ours)[1].notes == ()
  message_of(
    lambda: read(step, official, vocab_sha256=SHA256),
    f"the vocabulary of {step}",
    SHA256[:12],
  )
  _, report = read(step, official)
  assert "has no known hash" in report.notes[0]


def test_what_is_no_weights_is_refused(official, tmp_path):
  message_of(lambda: read(tmp_path / "absent", official), "no such file")
  (tmp_path / "empty").mkdir()
  message_of(lambda: read(tmp_path / "empty", official), "no weights here")
  (tmp_path / "run/checkpoints/40/params").mkdir(parents=True)
  (tmp_path / "run/checkpoints/300/params").mkdir(parents=True)
  for path in ("run", "run/checkpoints"):
    message_of(
      lambda path=path: read(tmp_path / path, official),
      "[40, 300]",
      str(tmp_path / "run/checkpoints/300"),
    )
  write_safetensors(tmp_path / "empty/a.safetensors", {"w": np.zeros(2)})
  message_of(
    lambda: read(tmp_path / "empty", official), "neither", "1 names", "['w']"
  )
  write_safetensors(tmp_path / "empty/b.safetensors", {"w": np.zeros(2)})
  message_of(
    lambda: read(tmp_path / "empty", official), "a.safetensors", "name one"
  )
  (tmp_path / "empty/pytorch_model.bin").write_bytes(b"<html>")
  message_of(
    lambda: read(tmp_path / "empty", official), "pytorch_model.bin: exp"
  )
  path = save(tmp_path / "7", official)
  message_of(
    lambda: read(path, official, layers=(0, 1, 2, 3)),
    "are for a BERT",
    "'checkpoint'",
    error=ConfigError,
  )


def test_a_wrong_guess_is_overridden(official, tmp_path):
  write_safetensors(tmp_path / "x.safetensors", official.weights)
  path = tmp_path / "x.safetensors"
  _, report = read(path, official, format="bert")
  assert report.format == "bert"
  assert (
    len(report.random) == 2 * 16 + 6 + 4 + 8
  )  # layers, embeddings, poolers, heads
  message_of(lambda: read(path, official, format="export"), "missing: ")


@pytest.mark.parametrize(
  "options", [{"sharding": "fsdp"}, {"mode": "pmap"}], ids=str
)
def test_a_state_takes_what_there_is_and_keeps_the_rest(options):
  """On eight devices, in the layout that the state was born in."""
  parallel = make_parallel(**options)

  def init():
    params = {"a": jax.numpy.ones((16, 256)), "b": jax.numpy.full((4,), 7.0)}
    return init_state(params, optax.identity(), with_ema=True)

  state = parallel.init(init)
  before = jax.tree.map(lambda x: x.sharding, state.params)
  given = np.arange(16 * 256, dtype=np.float32).reshape(16, 256)
  state = parallel.with_params(state, {"a": given, "b": None})
  assert jax.tree.map(lambda x: x.sharding, state.params) == before
  whole = parallel.to_save(state)
  for saved in (whole.params, whole.ema):  # the average begins there too
    np.testing.assert_array_equal(saved["a"], given)
    np.testing.assert_array_equal(saved["b"], np.full(4, 7.0))
