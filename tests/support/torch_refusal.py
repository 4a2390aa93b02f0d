"""What every refused file of weights has in common, for tests."""

import pytest

from interbert_jax.contract.errors import CheckpointError
from interbert_jax.weights.torch_file import load_torch_file


def refused(path, *words, read=load_torch_file):
  with pytest.raises(CheckpointError) as caught:
    read(path)
  message = str(caught.value)
  assert str(path) in message, message
  message = message.replace(str(path), "")  # it holds the name of the test
  for word in words:
    assert word in message, message
