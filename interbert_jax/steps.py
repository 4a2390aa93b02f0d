"""The pure steps. They know no device; `parallel.py` compiles them.

With `axis_name=None` a step sees the global batch (jit over a mesh); with a
name it sees one device's part and adds over that axis (pmap). Losses are sums
over the global batch divided by global weights, so both give the same numbers.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from interbert_jax.losses import SumWeight
from interbert_jax.tasks.base import Task


@struct.dataclass
class TrainState:
  step: jax.Array  # completed updates
  params: Any
  opt_state: Any


def init_state(
  key: jax.Array,
  batch: Mapping[str, jax.Array],
  *,
  task: Task,
  tx: optax.GradientTransformation,
) -> TrainState:
  params = task.init(key, batch)
  return TrainState(jnp.zeros((), jnp.int32), params, tx.init(params))


def _total(tree, axis_name: str | None):
  return tree if axis_name is None else jax.lax.psum(tree, axis_name)


def gradients(
  params,
  batch: Mapping[str, jax.Array],
  key: jax.Array,
  step: jax.Array,
  *,
  task: Task,
  dropout: bool = True,
  axis_name: str | None = None,
) -> tuple[Any, dict[str, SumWeight]]:
  """Gradient of the total loss over the global batch, and its metrics.

  Masks depend on `key` and every example's position only; dropout depends on
  `key`, the step and, under pmap, the device.
  """
  mask_key, dropout_key = jax.random.split(key)
  dropout_key = jax.random.fold_in(dropout_key, step)
  if axis_name is not None:
    dropout_key = jax.random.fold_in(dropout_key, jax.lax.axis_index(axis_name))
  inputs = task.prepare(batch, mask_key, train=True)
  weights = _total(task.weights(inputs), axis_name)

  def partial_loss(params):
    sums, metrics = task.losses(
      params, inputs, dropout_key=dropout_key if dropout else None
    )
    terms = [
      task.loss_weights[name] * value / jnp.maximum(weights[name], 1.0)
      for name, value in sums.items()
    ]
    return sum(terms), metrics

  # Gradients are added over devices, never the loss: that would leave every
  # device with the gradient of its own part only.
  (loss, metrics), grads = jax.value_and_grad(partial_loss, has_aux=True)(
    params
  )
  loss, metrics, grads = _total((loss, metrics, grads), axis_name)
  return grads, {"loss": (loss, jnp.ones(())), **metrics}


def train_step(
  state: TrainState,
  batch: Mapping[str, jax.Array],
  key: jax.Array,
  *,
  task: Task,
  tx: optax.GradientTransformation,
  axis_name: str | None = None,
) -> tuple[TrainState, dict[str, SumWeight]]:
  """One update. `state` is donated by the compiled step."""
  grads, metrics = gradients(
    state.params, batch, key, state.step, task=task, axis_name=axis_name
  )
  updates, opt_state = tx.update(grads, state.opt_state, state.params)
  metrics["grad_norm"] = (optax.tree.norm(grads), jnp.ones(()))
  return (
    TrainState(
      state.step + 1, optax.apply_updates(state.params, updates), opt_state
    ),
    metrics,
  )


def eval_step(
  params, batch: Mapping[str, jax.Array], key: jax.Array, *, task: Task
) -> dict[str, SumWeight]:
  """Losses and metrics without dropout; masks from `key` and position."""
  _, metrics = task.losses(params, task.prepare(batch, key, train=False))
  return metrics
