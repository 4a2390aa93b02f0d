"""Answers of a split of texts, joined by id, and their official metrics.

Dimensions: B examples of a batch, N of the split, O outputs of the head.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence

import jax
import numpy as np

from interbert_jax.evaluation.text_metrics import text_metrics
from interbert_jax.parallel import Parallel
from interbert_jax.tasks import losses
from interbert_jax.tasks.text import TextTask


def answer_step(
  params, batch: Mapping[str, jax.Array], *, task: TextTask
) -> dict[str, jax.Array]:
  """The head's outputs [B, O] and the loss [B] of every example."""
  inputs = task.prepare(batch, jax.random.key(0), train=False)
  outputs_BO = task.outputs(params, inputs)

  def loss_of(output_O, label):
    one = np.ones(())
    if task.is_regression:
      return losses.squared_error(output_O, label[None], one)[0]
    return losses.cross_entropy(output_O, label, one)[0]

  return {
    "outputs": outputs_BO,
    "loss": jax.vmap(loss_of)(outputs_BO, batch["label"]),
    **{key: batch[key] for key in ("label", "example_id", "example_weight")},
  }


def compile_answers(task: TextTask, parallel: Parallel) -> Callable:
  """`answer_step(params, batch)` for evaluators of several files."""
  return parallel.compile_eval(functools.partial(answer_step, task=task))


class TextEvaluator:
  """The official metrics of a task over a split, each example once.

  Args:
    task: the task.
    metrics: names of text_metrics.METRICS.
    num_examples: N.
    parallel: the devices.
    batches: called for each run; yields padded batches of this process.
    step: from `compile_answers`, where several files share it.
  """

  def __init__(
    self,
    *,
    task: TextTask,
    metrics: Sequence[str],
    num_examples: int,
    parallel: Parallel,
    batches: Callable[[], Iterable[Mapping[str, np.ndarray]]],
    step: Callable | None = None,
  ):
    self._task = task
    self._metrics = tuple(metrics)
    self._num_examples = num_examples
    self._parallel = parallel
    self._batches = batches
    self._step = step or compile_answers(task, parallel)

  def _joined(self, params) -> dict[str, np.ndarray]:
    """Every array of the step by example id, [N, ...]."""
    found: dict[str, np.ndarray] = {}
    seen_N = np.zeros(self._num_examples, int)
    for batch in self._batches():
      rows = jax.device_get(self._step(params, self._parallel.put_rows(batch)))
      real_B = rows.pop("example_weight") > 0
      id_N = rows.pop("example_id")[real_B]
      np.add.at(seen_N, id_N, 1)
      for key, value in rows.items():
        whole = found.setdefault(
          key,
          np.zeros((self._num_examples, *value.shape[1:]), value.dtype),
        )
        whole[id_N] = value[real_B]
    if not np.all(seen_N == 1):
      example = int(np.argmax(seen_N != 1))
      raise ValueError(
        f"example {example} came {seen_N[example]} times; an evaluation must "
        "see every example once"
      )
    return found

  def _answers(self, outputs_NO: np.ndarray) -> np.ndarray:
    if self._task.is_regression:
      return outputs_NO[:, 0]
    # A NaN must not become a class.
    finite_N = np.all(np.isfinite(outputs_NO), axis=1)
    return np.where(finite_N, np.argmax(outputs_NO, axis=1), np.nan)

  def predict(self, params) -> np.ndarray:
    """[N] classes or numbers, in the order of example ids."""
    answers_N = self._answers(self._joined(params)["outputs"])
    if not np.all(np.isfinite(answers_N)):
      raise ValueError(
        "the model gives no finite output for example "
        f"{int(np.argmin(np.isfinite(answers_N)))}"
      )
    return answers_N if self._task.is_regression else answers_N.astype(int)

  def run(self, params) -> dict[str, float]:
    """The mean loss, the metrics, and the mean of those as "score"."""
    found = self._joined(params)
    return {
      "loss": float(np.mean(found["loss"], dtype=np.float64)),
      **text_metrics(
        self._answers(found["outputs"]), found["label"], self._metrics
      ),
    }
