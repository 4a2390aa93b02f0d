"""What every refused file of weights has in common, for tests."""

import pytest

from interbert_jax.contract.errors import CheckpointError
from interbert_jax.weights.torch_file import load_torch_file


def message_of(call, *words, error=CheckpointError) -> str:
  """The message of the error that a call ends with; it has these words."""
  with pytest.raises(error) as caught:
    call()
  message = str(caught.value)
  for word in words:
    assert word in message, message
  return message


def refused(path, *words, read=load_torch_file):
  message = message_of(lambda: read(path), str(path))
  message = message.replace(str(path), "")  # it holds the name of the test
  for word in words:
    assert word in message, message
