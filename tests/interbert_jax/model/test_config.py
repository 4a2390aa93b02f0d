"""The model configuration: official files, sizes, mistakes."""

import json

import pytest

from interbert_jax.model.config import InterBertConfig, make_config
from interbert_jax.weights.official_config import config_from_official

OFFICIAL = {
  "vocab_size": 30522,
  "hidden_size": 768,
  "num_hidden_layers": 6,
  "t_num_hidden_layers": 6,
  "num_attention_heads": 12,
  "hidden_act": "gelu",
  "intermediate_size": 3072,
  "hidden_dropout_prob": 0.1,
  "attention_probs_dropout_prob": 0.1,
  "max_position_embeddings": 512,
  "type_vocab_size": 2,
  "initializer_range": 0.02,
  "v_feature_size": 2048,
  "v_target_size": 1601,
  "v_hidden_size": 768,
  "v_num_hidden_layers": 6,
  "v_num_attention_heads": 8,
  "v_intermediate_size": 3072,
  "v_attention_probs_dropout_prob": 0.1,
  "v_hidden_act": "gelu",
  "v_hidden_dropout_prob": 0.2,
  "pooling_method": "mul",
}


def test_official_file_is_the_base_model(tmp_path):
  path = tmp_path / "config.json"
  path.write_text(json.dumps(OFFICIAL))
  assert config_from_official(path) == InterBertConfig()


def test_official_variants():
  config = config_from_official(
    {**OFFICIAL, "predict_feature": True, "fusion_method": "sum"}
  )
  assert config.region_target == "features"
  assert config.region_output_dim == 2048
  assert config.fusion == "sum"


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"hidden_act": "relu"}, "hidden_act is 'relu'"),
    ({"v_hidden_size": 1024}, "v_hidden_size 1024 differs"),
    ({"fusion_method": "cat"}, "fusion_method is 'cat'"),
    ({"num_attention_heads": 7}, "768 cannot be split into num_heads 7"),
  ],
)
def test_unsupported_official_values(change, message):
  with pytest.raises(ValueError, match=message):
    config_from_official({**OFFICIAL, **change})


def test_broken_files(tmp_path):
  path = tmp_path / "config.json"
  path.write_text("{")
  with pytest.raises(ValueError, match=r"config\.json: not a JSON"):
    config_from_official(path)
  path.write_text("{}")
  with pytest.raises(ValueError, match="vocab_size"):
    config_from_official(path)


def test_sizes_and_changes():
  assert make_config("base") == InterBertConfig()
  assert make_config("base", hidden_size=None) == InterBertConfig()
  assert make_config("large", vocab_size=9).vocab_size == 9
  with pytest.raises(ValueError, match="'huge' is unknown"):
    make_config("huge")
  with pytest.raises(ValueError, match="hidden_sise"):
    make_config("base", hidden_sise=3)
  with pytest.raises(ValueError, match="dtype is 'int8'"):
    make_config("base", dtype="int8")
