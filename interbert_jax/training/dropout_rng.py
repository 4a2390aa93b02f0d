"""Random bits for dropout, cheaper than JAX's own.

A bit needs no cryptography here: the number of each value is mixed with the key
by two rounds of an integer hash (Ettinger's lowbias32), a dozen operations
where threefry has a hundred. A value depends on its place in the array alone,
however the array is spread, so every device makes its own part; with XLA's
generator, "rbg", each makes them all.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax.extend.random import define_prng_impl

NAME = "hash"


def _mix(x: jax.Array) -> jax.Array:
  x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
  x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
  return x ^ (x >> 16)


def _hash(key_2: jax.Array, number: jax.Array) -> jax.Array:
  # Both words in the second round too: the first one alone would only put the
  # same values into another order.
  both = key_2[0] * jnp.uint32(0x9E3779B9) + key_2[1]
  return _mix(_mix(number ^ key_2[0]) + both)


def _random_bits(key_2: jax.Array, bit_width: int, shape) -> jax.Array:
  if bit_width != 32:
    raise ValueError(f"{bit_width} bits: wanted 32, as dropout uses")
  number = jnp.zeros(shape, jnp.uint32)
  for axis in range(len(shape)):
    stride = math.prod(shape[axis + 1 :])
    place = jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
    number += place * jnp.uint32(stride % 2**32)
  return _hash(key_2, number)


def _fold_in(key_2: jax.Array, data: jax.Array) -> jax.Array:
  # Two words of another sequence than the bits, whose numbers are not shifted.
  other = _mix(key_2 ^ jnp.uint32(0x9E3779B9)) + jnp.arange(2, dtype="uint32")
  return _hash(other, jnp.uint32(data) * 2 + jnp.arange(2, dtype="uint32"))


def _split(key_2: jax.Array, shape) -> jax.Array:
  numbers = jnp.arange(math.prod(shape), dtype=jnp.uint32)
  keys = jax.vmap(functools.partial(_fold_in, key_2))(numbers)
  return keys.reshape(*shape, 2)


def _seed(seed: jax.Array) -> jax.Array:
  return _fold_in(jnp.zeros(2, jnp.uint32), jnp.uint32(seed))


_IMPL = define_prng_impl(
  key_shape=(2,),
  seed=_seed,
  split=_split,
  random_bits=_random_bits,
  fold_in=_fold_in,
  name=NAME,
  tag="hash",
)


def hash_key(key: jax.Array) -> jax.Array:
  """A key of this generator, drawn with another key."""
  return jax.random.wrap_key_data(
    jax.random.bits(key, (2,), jnp.uint32), impl=_IMPL
  )
