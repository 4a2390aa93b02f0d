"""What every refused torch file has in common, for tests."""

import pytest

from interbert_jax.weights.torch_file import load_torch_file


def refused(path, *words):
  with pytest.raises(ValueError) as caught:
    load_torch_file(path)
  message = str(caught.value)
  assert str(path) in message, message
  message = message.replace(str(path), "")  # it holds the name of the test
  for word in words:
    assert word in message, message
