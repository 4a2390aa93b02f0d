"""Small weights in the official layout, taken from tests/golden."""

import dataclasses
import json

import numpy as np
from flax import traverse_util

from interbert_jax.model.config import InterBertConfig
from interbert_jax.weights.official_config import config_from_official

WORDS = "bert.embeddings.word_embeddings.weight"
DECODER = "cls.predictions.decoder.weight"
# Of a batch as the official model reads it.
TEXT_KEYS = ("input_ids", "input_mask", "segment_ids")
REGION_KEYS = ("image_feat", "image_loc", "image_mask")
VARIANTS = {
  "classes": ("pretrain_kl", 0),
  "features": ("pretrain_feature_regression", 0),
  "downstream": ("pretrain_kl", 3),
}


def flat(params, sep="/"):
  return traverse_util.flatten_dict(params, sep=sep)


def same(found, wanted):
  found, wanted = flat(found), flat(wanted)
  assert found.keys() == wanted.keys()
  for name, array in wanted.items():
    assert found[name].dtype == array.dtype, name
    np.testing.assert_array_equal(found[name], array, name)


def group(arrays, prefix):
  return {
    name.removeprefix(prefix): array
    for name, array in arrays.items()
    if name.startswith(prefix)
  }


@dataclasses.dataclass(frozen=True)
class Official:
  """Golden weights and the JSON configuration that belongs to them."""

  weights: dict[str, np.ndarray]
  json: str

  @property
  def config(self) -> InterBertConfig:
    return config_from_official(json.loads(self.json))


def read_official(golden_dir, name, *, answers=0) -> Official:
  """With downstream heads where there are answers."""
  arrays = dict(np.load(golden_dir / f"{name}.npz"))
  weights = group(arrays, "weights/")
  if answers:
    weights |= group(arrays, "vl_weights/")
    # More than one answer, or a transposed kernel would go unnoticed.
    for end in ("weight", "bias"):
      head = weights[f"vil_prediction.{end}"]
      rows = [head + i for i in range(answers)]
      weights[f"vil_prediction.{end}"] = np.concatenate(rows)
  return Official(weights, str(arrays["config_json"]))
