"""A tiny pretraining task and NumPy batches for the training tests."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np

from interbert_jax.contract.batch import dummy_batch
from interbert_jax.model.config import make_config
from interbert_jax.tasks.pretrain import PretrainTask
from interbert_jax.tasks.settings import PretrainSettings

DIMS = {"L": 10, "R": 6, "E": 16, "C": 9}
VOCAB = 120
BATCH = 16
NO_DROPOUT = {
  "hidden_dropout": 0.0,
  "attention_dropout": 0.0,
  "region_hidden_dropout": 0.0,
  "region_attention_dropout": 0.0,
  "pooled_dropout": 0.0,
}


def tiny_config(*, dropout=True, **changes):
  return make_config(
    "tiny",
    vocab_size=VOCAB,
    region_feature_dim=DIMS["E"],
    num_region_classes=DIMS["C"],
    **({} if dropout else NO_DROPOUT),
    **changes,
  )


def tiny_task(*, dropout=True, region_target="classes", model=None, **options):
  config = tiny_config(
    dropout=dropout, region_target=region_target, **(model or {})
  )
  options = {"group_size": 2, "mlm_rows": 10, "mrm_rows": 10, **options}
  return PretrainTask(config, PretrainSettings(**options))


def tiny_batch(step=0, batch_size=BATCH):
  """The batch of a step: other examples at every step, always the same."""
  batch = dummy_batch(
    dims={**DIMS, "B": batch_size}, vocab_size=VOCAB, seed=step
  )
  position = np.arange(batch_size, dtype=np.int32) + step * batch_size
  return {**batch, "position": position, "example_id": position % 37}


def tiny_batches(first_step, last_step, *, seen=None):
  """Yields the batches of the steps; records their example ids in `seen`."""
  for step in range(first_step, last_step):
    batch = tiny_batch(step)
    if seen is not None:
      seen[step] = batch["example_id"].tolist()
    yield batch


def visible_params(task, batch, seed=0):
  """Weights larger than fresh ones, so that outputs differ visibly."""
  fresh = jax.jit(functools.partial(task.init, jax.random.key(seed)))(batch)
  return jax.tree.map(lambda x: 5 * x if x.ndim > 1 else x, fresh)


def drawn_params(task, batch, *, seed):
  """Parameters that nothing has to be compiled for."""
  init = functools.partial(task.init, jax.random.key(0))
  rng = np.random.default_rng(seed)

  def draw(path, shape):
    middle = 1.0 if path[-1].key == "scale" else 0.0
    return rng.normal(middle, 0.3, shape.shape).astype(np.float32)

  return jax.tree_util.tree_map_with_path(draw, jax.eval_shape(init, batch))


def image_side(batch):
  """What a ranking reads of the images of a batch."""
  keys = ("region_features", "region_boxes", "image_size", "num_regions")
  return {key: batch[key] for key in keys}


def text_side(batch, image_of_text):
  """What a ranking reads of the texts of a batch."""
  keys = ("text_ids", "text_length")
  return {key: batch[key] for key in keys} | {"image_of_text": image_of_text}


@dataclasses.dataclass(frozen=True)
class Known:
  """A predictor whose outputs are known."""

  outputs: Any

  def run(self, params, on_batch):
    return self.outputs
