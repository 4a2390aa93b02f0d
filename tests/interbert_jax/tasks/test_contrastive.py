"""The contrastive loss by hand, on one device and on many."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interbert_jax.model.inputs import RegionInput
from interbert_jax.tasks.contrastive import contrast, image_keys

B, O = 8, 5


def vectors(seed=0):
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(2, B, O))
  return x / np.linalg.norm(x, axis=-1, keepdims=True)


def by_hand(text, image, scale, keys, weights):
  """(loss, how often the own one is the nearest), a pair at a time."""
  losses, hits = [], []
  for b in range(B):
    if not weights[b]:
      continue
    others = [
      n for n in range(B) if n == b or (keys[n] != keys[b] and weights[n])
    ]
    for query, candidates in ((text[b], image), (image[b], text)):
      logits = np.array([scale * query @ candidates[n] for n in others])
      own = logits[others.index(b)]
      losses.append(np.log(np.exp(logits).sum()) - own)
      hits.append(own >= logits.max())
  return np.mean(losses), np.mean(hits)


CASES = {
  "all are different": (np.arange(B), np.ones(B)),
  "two captions of one image": (np.array([0, 1, 0, 3, 4, 4, 4, 7]), np.ones(B)),
  "some do not count": (np.arange(B), np.array([1, 1, 0, 1, 0, 1, 1, 0])),
}


@pytest.mark.parametrize("case", CASES)
def test_by_hand(case):
  keys, weights = CASES[case]
  text, image = vectors()
  found = contrast(
    jnp.float32(text),
    jnp.float32(image),
    jnp.float32(3.0),
    key_B=jnp.float32(keys),
    weight_B=jnp.float32(weights),
  )
  loss, hit = by_hand(text, image, 3.0, keys, weights)
  total, weight = found["itc_loss"]
  assert float(weight) == weights.sum()
  assert float(total / weight) == pytest.approx(loss, rel=1e-5)
  assert float(found["itc_acc"][0] / weight) == pytest.approx(hit)


def test_devices_see_the_whole_batch():
  """The loss and its exact gradient, whoever has which examples."""
  keys, weights = CASES["two captions of one image"]
  keys, weights = jnp.float32(keys), jnp.float32(weights).at[3].set(0)
  text, image = map(jnp.float32, vectors())
  w = jnp.float32(np.random.default_rng(1).normal(size=(O, O)))

  def loss(w, text, image, keys, weights, axis_name=None):
    found = contrast(
      text @ w,
      image,
      jnp.float32(2.0),
      key_B=keys,
      weight_B=weights,
      axis_name=axis_name,
    )
    return found["itc_loss"][0]

  whole = jax.value_and_grad(loss)(w, text, image, keys, weights)

  def part(w, *rows):
    sums = jax.value_and_grad(loss)(w, *rows, axis_name="data")
    return jax.lax.psum(sums, "data")

  spread = jax.pmap(part, "data", in_axes=(None, 0, 0, 0, 0))(
    w, *(x.reshape(4, 2, *x.shape[1:]) for x in (text, image, keys, weights))
  )
  for one, all_devices in zip(whole, spread, strict=True):
    np.testing.assert_allclose(all_devices[0], one, rtol=1e-5, atol=1e-5)


def test_images_are_told_apart():
  rng = np.random.default_rng(0)
  features = rng.normal(size=(4, 3, 6)).astype(np.float16)
  features[2] = features[0]
  boxes = np.ones((4, 3, 5), np.float32)  # a grid: the same in all images
  keys = np.asarray(
    image_keys(RegionInput(jnp.asarray(features), boxes, boxes[..., 0]))
  )
  assert keys[0] == keys[2] and len(set(keys.tolist())) == 3
