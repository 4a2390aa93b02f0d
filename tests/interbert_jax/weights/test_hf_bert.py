"""A BERT's weights in our model give the BERT's outputs, and nothing silent."""

import dataclasses
import functools
import json

import jax
import numpy as np
import pytest

from interbert_jax.contract.errors import CheckpointError, ConfigError
from interbert_jax.model.inputs import TextInput
from interbert_jax.model.interbert import InterBert, pretraining_heads
from interbert_jax.weights.hf_bert import bert_source
from interbert_jax.weights.init_from import read_init
from interbert_jax.weights.weights_file import write_safetensors
from tests.support import bert_weights as bert
from tests.support.official_weights import flat, group
from tests.support.torch_refusal import message_of
from tests.support.torch_writer import WRITERS, whole

IDS = np.array([[2, 9, 31, 7, 3, 0, 0], [2, 44, 5, 6, 49, 8, 3]])
MASK = np.array([[1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1, 1]])
TYPES = np.array([[0, 0, 0, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1, 1]])
# Of values around 1, in float32, through three layers.
ROUNDING = 2e-5


@functools.cache
def random_params(config):
  return bert.init_params(config, TextInput(IDS, MASK, TYPES))


def fill(params, config):
  """Random parameters where nothing was loaded, as a run starts."""
  return jax.tree.map(
    lambda new, old: old if new is None else new,
    params,
    random_params(config),
    is_leaf=lambda x: x is None,
  )


def read(path, config, **options):
  return read_init(str(path), random_params(config), config=config, **options)


def save(folder, weights, *, config_json=bert.CONFIG_JSON):
  folder.mkdir()
  write_safetensors(folder / "model.safetensors", weights)
  if config_json is not None:
    (folder / "config.json").write_text(json.dumps(config_json))
  return folder


def encode(params, config, mlm=False):
  model = InterBert(config, pretraining_heads(config))

  @jax.jit
  def run(params):
    text = TextInput(IDS, MASK, TYPES)
    hidden = model.apply(params, text, None, method="encode").text
    if mlm:
      return model.apply(params, "mlm_head", hidden, method="read")
    return hidden

  return run({"params": fill(params, config)})


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_text_alone_gives_the_outputs_of_the_bert(tmp_path, prefix):
  weights = bert.make_bert(3, prefix=prefix, mlm=True)
  config = bert.bert_config()  # 2 + 1 layers
  params, report = read(save(tmp_path / "bert", weights), config)
  assert report.format == "bert"
  wanted = bert.bert_forward(weights, IDS, MASK, TYPES, prefix=prefix)
  real = MASK > 0
  np.testing.assert_allclose(
    encode(params, config)[real], wanted[real], atol=ROUNDING
  )
  logits = bert.mlm_forward(weights, wanted, prefix=prefix)
  np.testing.assert_allclose(
    encode(params, config, mlm=True)[real], logits[real], atol=10 * ROUNDING
  )


def test_a_bare_torch_file_is_the_same(tmp_path):
  weights = bert.make_bert(3, prefix="bert.", mlm=True)
  config = bert.bert_config()
  wanted, _ = read(save(tmp_path / "new", weights), config)
  path = tmp_path / "old/pytorch_model.bin"
  path.parent.mkdir()
  WRITERS["zip"](path, {k: whole(k, v) for k, v in weights.items()})
  for source in (path.parent, path):
    found, report = read(source, config)
    jax.tree.map(np.testing.assert_array_equal, found, wanted)
    assert "no config.json" in report.notes[0]


def test_the_report_has_every_parameter_and_every_tensor_once(tmp_path):
  weights = bert.make_bert(3, mlm=True)
  short = dataclasses.replace(bert.bert_config(), max_position_embeddings=8)
  params, report = read(save(tmp_path / "bert", weights), short)
  ours = flat(params)
  assert set(report.loaded) == {k for k, v in ours.items() if v is not None}
  assert set(report.random) == {k for k, v in ours.items() if v is None}
  positions = "encoder/text_embeddings/position_embeddings/embedding"
  name = report.loaded[positions]
  assert name == (
    "embeddings.position_embeddings.weight (the first 8 of 12 rows)"
  )
  np.testing.assert_array_equal(
    ours[positions], weights["embeddings.position_embeddings.weight"][:8]
  )
  names = {n.partition(" (")[0] for n in report.loaded.values()}
  assert names | set(report.unused) == set(weights)
  assert not names & set(report.unused)
  assert report.unused["embeddings.position_ids"] == "a buffer, not a weight"
  assert "next sentence" in report.unused["cls.seq_relationship.bias"]
  decoder = report.unused["cls.predictions.decoder.weight"]
  assert decoder == "the word embeddings themselves"
  assert "tanh" in report.unused["pooler.dense.weight"]
  assert "no regions" in report.random["encoder/region_embeddings/norm/bias"]
  assert "no such head" in report.random["match_head/dense/bias"]
  layer = "encoder/region_encoder/layer_0/mlp_in/bias"
  assert "init.region_layers" in report.random[layer]
  json.dumps(report.to_json())
  first, *rest = report.lines()
  assert first.startswith(f"weights: {len(report.loaded)} tensors loaded from ")
  assert rest[0].startswith(f"  {len(report.random)} start at random: ")


def test_declared_layers(tmp_path):
  weights = bert.make_bert(6)
  config = bert.bert_config()
  folder = save(tmp_path / "bert", weights)
  with pytest.raises(ConfigError, match=r"6 layers.*2 interaction and 1 text"):
    read(folder, config)
  params, report = read(folder, config, layers=(5, -1, 2), region_layers=(4,))
  encoder = params["encoder"]
  for stack, index, layer in (
    ("interaction_encoder", 0, 5),
    ("text_encoder", 0, 2),
    ("region_encoder", 0, 4),
  ):
    np.testing.assert_array_equal(
      encoder[stack][f"layer_{index}"]["mlp_in"]["kernel"],
      weights[f"encoder.layer.{layer}.intermediate.dense.weight"].T,
    )
  left = "encoder/interaction_encoder/layer_1/mlp_in/bias"
  assert report.random[left] == "init.layers has -1 here"
  assert any("2 heads, BERT into 4" in note for note in report.notes)
  unused = report.unused["encoder.layer.0.output.dense.bias"]
  assert unused == "init.layers does not name its layer"
  # The chosen layers, as a BERT of their own.
  chosen = {k: v for k, v in weights.items() if "encoder.layer" not in k}
  for new, old in enumerate((5, 1, 2)):
    layer = group(weights, f"encoder.layer.{old}.")
    chosen |= {f"encoder.layer.{new}.{k}": v for k, v in layer.items()}
  params, _ = read(folder, config, layers=(5, 1, 2))
  wanted = bert.bert_forward(chosen, IDS, MASK, TYPES)
  real = MASK > 0
  np.testing.assert_allclose(
    encode(params, config)[real], wanted[real], atol=ROUNDING
  )


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"layers": (0, 1)}, ["init.layers is (0, 1)", "wanted 3 numbers"]),
    ({"layers": (0, 1, 3)}, ["init.layers is (0, 1, 3)", "-1 to 2"]),
    ({"region_layers": (0, 1)}, ["init.region_layers", "wanted 1 numbers"]),
    ({"region_layers": (-1,)}, ["init.region_layers", "0 to 2"]),
    ({"format": "roberta"}, ["init.format is 'roberta'"]),
    ({"vocab": "absent.txt"}, ["init.vocab=absent.txt: no such file"]),
    (
      {"format": "official", "layers": (0, 1, 2)},
      ["are for a BERT", "'official'"],
    ),
  ],
)
def test_refuses_options_that_make_no_sense(tmp_path, options, words):
  folder = save(tmp_path / "bert", bert.make_bert(3))
  call = functools.partial(read, folder, bert.bert_config(), **options)
  message_of(call, *words, error=ConfigError)


@pytest.mark.parametrize(
  ("change", "words"),
  [
    ({"num_attention_heads": 6}, "num_attention_heads is 6, wanted (4,)"),
    ({"model_type": "roberta"}, "model_type is 'roberta'"),
    ({"hidden_act": "relu"}, "hidden_act is 'relu'"),
    ({"position_embedding_type": "relative_key"}, "'relative_key'"),
  ],
)
def test_refuses_what_shapes_do_not_tell(tmp_path, change, words):
  config_json = {**bert.CONFIG_JSON, **change}
  folder = save(tmp_path / "x", bert.make_bert(3), config_json=config_json)
  message_of(lambda: read(folder, bert.bert_config()), words, str(folder))


def test_small_differences_are_noted(tmp_path):
  config_json = {
    **bert.CONFIG_JSON,
    "hidden_act": "gelu_new",
    "layer_norm_eps": 1e-5,
  }
  folder = save(tmp_path / "x", bert.make_bert(3), config_json=config_json)
  _, report = read(folder, bert.bert_config())
  assert "hidden_act is 'gelu_new' there" in report.notes[0]
  assert "layer_norm_eps is 1e-05 there" in report.notes[1]


def test_one_error_lists_all_shapes_and_broken_numbers(tmp_path):
  weights = bert.make_bert(3)
  weights["encoder.layer.1.output.dense.weight"] = np.zeros((3, 2), np.float32)
  weights["embeddings.position_embeddings.weight"] = np.zeros((5, bert.HIDDEN))
  weights["embeddings.LayerNorm.bias"][3] = np.nan
  folder = save(tmp_path / "bert", weights)
  lines = message_of(lambda: read(folder, bert.bert_config())).splitlines()
  assert lines[0] == f"{folder} does not fit the model (3 differences):"
  assert sorted(lines[1:4]) == [
    "  misshapen: encoder/interaction_encoder/layer_1/mlp_out/kernel is (2, 3),"
    " wanted (40, 24) (from encoder.layer.1.output.dense.weight)",
    "  misshapen: encoder/text_embeddings/position_embeddings/embedding is "
    "(5, 24), wanted (12, 24) (from embeddings.position_embeddings.weight)",
    "  not finite: 1 values of embeddings.LayerNorm.bias",
  ]
  assert "config.init.skip" in lines[4]


def test_a_bert_with_a_hole_is_refused(tmp_path):
  weights = bert.make_bert(3)
  del weights["encoder.layer.1.output.dense.bias"]
  folder = save(tmp_path / "bert", weights)
  with pytest.raises(CheckpointError, match=r"no tensor encoder.layer.1.out"):
    read(folder, bert.bert_config())


def test_an_untied_decoder_is_reported():
  weights = bert.make_bert(3, mlm=True)
  decoder = "cls.predictions.decoder.weight"
  weights[decoder] = weights[decoder] + 1
  source = bert_source(weights, bert.bert_config())
  assert "differs from the word embeddings" in source.unused[decoder]
  del weights["cls.predictions.bias"]
  source = bert_source(weights, bert.bert_config())
  assert source.values["mlm_head/bias"][0] == "cls.predictions.decoder.bias"
