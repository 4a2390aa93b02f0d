"""The sample data's features are brought to one scale, once."""

import numpy as np

from tools.sample_data.standardise import Standardised


def encode(crops):
  return crops * np.array([1.0, 100.0, 0.0]) + 5, crops


def test_the_first_call_sets_the_scale():
  rng = np.random.default_rng(0)
  first, second = rng.normal(size=(2, 500, 3))
  standardised = Standardised(encode)
  features, probs = standardised(first)
  np.testing.assert_array_equal(probs, first)
  np.testing.assert_allclose(features.mean(0), 0, atol=1e-5)
  np.testing.assert_allclose(features.std(0), [1, 1, 0], atol=0.02)
  assert features.dtype == np.float32
  # Shifted by five deviations: the scale is still the first call's.
  features, _ = standardised(second + 5)
  np.testing.assert_allclose(features[:, :2].mean(0), 5, atol=0.2)
  features, _ = standardised(second + 50)
  assert features.max() == 10
