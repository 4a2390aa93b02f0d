"""What must be refused, and what its message must have."""

import contextlib

import pytest

from interbert_jax.contract.errors import DataError


@contextlib.contextmanager
def refused(*words: object, error: type[Exception] = DataError):
  """The block must raise this error, with all of these words in its message."""
  with pytest.raises(error) as caught:
    yield
  for word in words:
    assert str(word) in str(caught.value), (word, str(caught.value))
