"""Evaluators: plain objects with `run(params) -> dict of numbers`.

The training loop and the eval scripts use the same objects, so there is one
implementation of every metric.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from interbert_jax import metrics, retrieval_metrics, steps
from interbert_jax.config import InterBertConfig
from interbert_jax.inputs import TextInput, region_input
from interbert_jax.parallel import Parallel
from interbert_jax.task_model import InterBertForTask
from interbert_jax.tasks.base import Task
from interbert_jax.tasks.retrieval import pair_score

# Masks of an evaluation are the same in every run and at every step.
_EVAL_SEED = 0


class Evaluator(Protocol):
  def run(self, params: Any) -> dict[str, float]: ...


class LossEvaluator:
  """Mean losses and accuracies of a task over a split, each example once.

  Args:
    batches: called for each run; yields padded batches of this process.
  """

  def __init__(
    self,
    *,
    task: Task,
    parallel: Parallel,
    batches: Callable[[], Iterable[Mapping[str, np.ndarray]]],
  ):
    self._task = task
    self._parallel = parallel
    self._batches = batches
    self._step = parallel.compile_eval(
      functools.partial(steps.eval_step, task=task)
    )

  def run(self, params) -> dict[str, float]:
    key = jax.random.key(_EVAL_SEED)
    found = metrics.mean_over(
      jax.device_get(self._step(params, self._parallel.put_rows(batch), key))
      for batch in self._batches()
    )
    return {
      "loss": metrics.total_loss(found, self._task.loss_weights),
      **found,
    }


def score_pairs(
  params,
  images: Mapping[str, jax.Array],
  texts: Mapping[str, jax.Array],
  text_P: jax.Array,
  image_P: jax.Array,
  *,
  model: InterBertForTask,
) -> jax.Array:
  """[P] float32 scores of P (text, image) pairs, `pair_score` of the head."""
  features, boxes, size, count = (
    images[key][image_P]
    for key in (
      "region_features",
      "region_boxes",
      "image_size",
      "num_regions",
    )
  )
  ids_PL, length_P = texts["text_ids"][text_P], texts["text_length"][text_P]
  mask_PL = jnp.arange(ids_PL.shape[1]) < length_P[:, None]
  logits_PO = model.apply(
    {"params": params},
    TextInput(ids_PL, mask_PL),
    region_input(features, boxes, size, count),
  )
  return pair_score(logits_PO)


class RetrievalEvaluator:
  """Retrieval over all pairs.

  Args:
    score: the head that scores a pair and its outputs (tasks/retrieval.py).
    images: region_features [I, R, E], region_boxes [I, R, 4], image_size
      [I, 2] and num_regions [I].
    texts: text_ids [T, L], text_length [T] and image_of_text [T].
    pairs_per_step: pairs scored at once, over all devices.
  """

  def __init__(
    self,
    *,
    config: InterBertConfig,
    score: tuple[str, int],
    parallel: Parallel,
    images: Mapping[str, np.ndarray],
    texts: Mapping[str, np.ndarray],
    pairs_per_step: int,
  ):
    parallel.check_batch_size(pairs_per_step, name="evals.pairs_per_step")
    self._parallel = parallel
    self._images = parallel.put_replicated(dict(images))
    self._texts = parallel.put_replicated(
      {key: texts[key] for key in ("text_ids", "text_length")}
    )
    self._image_of_text = np.asarray(texts["image_of_text"])
    self._num_images = len(images["num_regions"])
    self._pairs_per_step = pairs_per_step
    self._score = parallel.compile_eval(
      functools.partial(score_pairs, model=InterBertForTask(config, *score))
    )

  @property
  def counts(self) -> dict[str, int]:
    texts = len(self._image_of_text)
    return {
      "n_images": self._num_images,
      "n_texts": texts,
      "n_pairs_scored": texts * self._num_images,
    }

  def scores(self, params) -> np.ndarray:
    """[T, I] float32 score of every text with every image."""
    shape = len(self._image_of_text), self._num_images
    total, step = shape[0] * shape[1], self._pairs_per_step
    out = []
    for start in range(0, total, step):
      # The last step repeats the last pair; the surplus is cut off below.
      pair = np.minimum(np.arange(start, start + step), total - 1)
      text, image = np.unravel_index(pair, shape)
      placed = self._parallel.put_global(
        {"text": text.astype(np.int32), "image": image.astype(np.int32)}
      )
      out.append(
        self._score(
          params, self._images, self._texts, placed["text"], placed["image"]
        )
      )
    return np.concatenate(jax.device_get(out))[:total].reshape(shape)

  def run(self, params) -> dict[str, float]:
    return retrieval_metrics.retrieval_metrics(
      self.scores(params), self._image_of_text
    )
