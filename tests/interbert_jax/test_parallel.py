"""Any number of devices, layout and parts: the same raw gradients.

Compared before the optimiser, since AdamW would hide a wrong scale.
"""

import jax
import numpy as np
import optax
import pytest

from interbert_jax.parallel import make_parallel
from tests.support.line_task import one_update
from tests.support.tiny_task import BATCH, tiny_batch, tiny_task

# Momentum SGD: the first update is minus the gradient, and there is optimiser
# state to shard.
TX = optax.sgd(1.0, momentum=0.9)
SETUPS = [
  ("jit", "replicated", 8, 1),
  ("jit", "zero1", 8, 1),
  ("jit", "fsdp", 8, 1),
  ("pmap", "replicated", 8, 1),
  # In parts of one group of every device; test_steps.py has pmap.
  ("jit", "zero1", 2, 4),
]


def one_step(mode, sharding, num_devices, parts=1, *, task, batch):
  return one_update(
    task,
    TX,
    batch,
    mode=mode,
    sharding=sharding,
    devices=jax.devices()[:num_devices],
    accumulate_steps=parts,
  )


@pytest.fixture(scope="module")
def task():
  return tiny_task(dropout=False)


@pytest.fixture(scope="module")
def batch():
  # Examples of weight 0 and unequal counts: a mean of means would differ.
  batch = tiny_batch()
  batch["example_weight"][BATCH // 2 + 1 :: 3] = 0
  return batch


@pytest.fixture(scope="module")
def single(task, batch):
  return one_step("jit", "replicated", 1, task=task, batch=batch)


@pytest.mark.parametrize(("mode", "sharding", "devices", "parts"), SETUPS)
def test_raw_gradients_are_equal(
  single, task, batch, mode, sharding, devices, parts
):
  wanted, metrics, _ = single
  found, of_parts, _ = one_step(
    mode, sharding, devices, parts, task=task, batch=batch
  )
  scale = max(np.abs(x).max() for x in jax.tree.leaves(wanted))
  assert scale > 0.1
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6 * scale),
    found,
    wanted,
  )
  for name, (value, weight) in metrics.items():
    assert of_parts[name][0] == pytest.approx(value, rel=1e-5), name
    # Under pmap the weight of a mean over devices stays that of one.
    assert of_parts[name][1] == pytest.approx(weight), name


@pytest.fixture(scope="module")
def contrast():
  return tiny_task(dropout=False, itc_weight=2.0, vector_dim=8)


@pytest.fixture(scope="module")
def contrast_on_one(contrast, batch):
  return one_step("jit", "replicated", 1, task=contrast, batch=batch)


@pytest.mark.parametrize(
  ("mode", "sharding"), [("jit", "fsdp"), ("pmap", "replicated")]
)
def test_contrast_is_over_the_whole_batch(
  contrast, contrast_on_one, batch, mode, sharding
):
  single = contrast_on_one
  found = one_step(mode, sharding, 8, task=contrast, batch=batch)
  head = single[0]["vector_head"]
  assert min(np.abs(x).max() for x in jax.tree.leaves(head)) > 1e-3
  scale = max(np.abs(x).max() for x in jax.tree.leaves(single[0]))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6 * scale),
    found[0],
    single[0],
  )
  for name in ("itc_loss", "itc_acc", "loss"):
    assert found[1][name][0] == pytest.approx(single[1][name][0], rel=1e-5)


def test_optimiser_state_is_spread(task, batch):
  _, _, state = one_step("jit", "zero1", 8, task=task, batch=batch)
  largest = max(jax.tree.leaves(state.opt_state), key=lambda x: x.size)
  shard = largest.addressable_shards[0].data
  assert shard.size == largest.size // 8
  params = jax.tree.leaves(state.params)
  assert all(x.is_fully_replicated for x in params)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"mode": "shard"}, "parallel.mode is 'shard'"),
    ({"sharding": "zero3"}, "parallel.sharding is 'zero3'"),
    ({"mode": "pmap", "sharding": "zero1"}, "needs parallel.mode 'jit'"),
  ],
)
def test_unknown_settings(options, message):
  with pytest.raises(ValueError, match=message):
    make_parallel(**options)


def test_batches_that_cannot_be_shared():
  with pytest.raises(ValueError, match=r"train.batch_size is 12.*\[8, 16\]"):
    make_parallel().check_batch_size(12, name="train.batch_size")
