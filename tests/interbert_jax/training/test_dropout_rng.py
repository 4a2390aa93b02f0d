"""The cheap generator is fair, and the same on any devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from interbert_jax.training.dropout_rng import hash_key

KEY = hash_key(jax.random.key(0))
SHAPE = 64, 33, 512


@pytest.fixture(scope="module")
def kept():
  """Dropout masks of a row of keys, of 0.9."""
  keys = jax.random.split(KEY, 4)
  return np.asarray(
    jax.vmap(lambda key: jax.random.bernoulli(key, 0.9, SHAPE))(keys)
  )


def test_the_share_is_right_along_every_axis(kept):
  assert kept.mean() == pytest.approx(0.9, abs=0.001)
  for axis in range(4):
    means = np.moveaxis(kept, axis, 0).reshape(kept.shape[axis], -1).mean(1)
    deviation = np.sqrt(0.09 / (kept.size / kept.shape[axis]))
    assert np.abs(means - 0.9).max() < 5 * deviation
    # Means that are too equal would be as wrong.
    if len(means) > 30:
      assert means.std() == pytest.approx(deviation, rel=0.4)


def test_neighbours_are_independent(kept):
  x = kept - 0.9
  deviation = 0.09 / np.sqrt(x.size)
  for axis in range(4):
    for shift in (1, 2, 3):
      together = (x * np.roll(x, shift, axis)).mean()
      assert abs(together) < 5 * deviation


def test_every_bit_is_fair():
  bits = np.asarray(jax.random.bits(KEY, (1 << 16,), jnp.uint32))
  shares = [(bits >> i & 1).mean() for i in range(32)]
  np.testing.assert_allclose(shares, 0.5, atol=5 * 0.5 / 256)
  # As many values twice as in 65,536 draws of 2 ** 32: half a pair.
  assert len(np.unique(bits)) >= len(bits) - 4


def test_keys_give_other_bits():
  keys = [KEY, *jax.random.split(KEY, 3), jax.random.fold_in(KEY, 7)]
  keys += [jax.random.fold_in(KEY, 8), hash_key(jax.random.key(1))]
  impl = jax.random.key_impl(KEY)
  for words in ([5, 9], [5, 10], [6, 9]):  # of which one differs
    data = jnp.array(words, jnp.uint32)
    keys.append(jax.random.wrap_key_data(data, impl=impl))
  bits = np.stack([jax.random.bits(key, (4096,), jnp.uint32) for key in keys])
  assert len(np.unique(bits)) > bits.size - 4


def test_devices_make_their_own_part():
  devices = jax.devices()[:4]
  mesh = jax.make_mesh(
    (len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices
  )

  def draw(key):
    return jax.random.bits(key, (8, 6), jnp.uint32)

  spread = jax.jit(
    draw, out_shardings=NamedSharding(mesh, PartitionSpec("data"))
  )
  np.testing.assert_array_equal(spread(KEY), draw(KEY))
  text = spread.lower(KEY).compile().as_text()
  assert "all-gather" not in text and "dynamic-slice" not in text
