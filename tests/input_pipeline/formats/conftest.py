"""What tests of faults share: a corpus, and the one message that is wanted.

Each fault is planted into a sound source of three images, in the second one
where it can be; the others must still be read.
"""

import sys

import pytest

from input_pipeline.formats.registry import FORMATS
from interbert_jax.contract.errors import DataError
from tests.support.corpus import make_corpus

CORPUS = make_corpus(3)


@pytest.fixture(autouse=True)
def _fresh_caches():
  """Files of different tests may have the same path and time."""
  yield
  clear_caches()


def clear_caches():
  for name, module in list(sys.modules.items()):
    if name.startswith("input_pipeline.formats."):
      for value in vars(module).values():
        if hasattr(value, "cache_clear"):
          value.cache_clear()


def read(path, name):
  """(ids read, messages) of a source, whatever way errors come."""
  reader = FORMATS[name]
  ids, errors = [], []
  try:
    for part in reader.split(path):
      for image in reader.read(part):
        if isinstance(image, DataError):
          errors.append(str(image))
        else:
          ids.append(image.image_id)
  except DataError as error:
    errors.append(str(error))
  return ids, errors


def expect_fault(path, name, words, *, others=True):
  """One message, with these words and the path, on one line."""
  ids, errors = read(path, name)
  assert len(errors) == 1, errors
  for word in words:
    assert word in errors[0]
  assert str(path) in errors[0]
  assert "\n" not in errors[0]
  if others:
    assert ids == [CORPUS[0].image_id, CORPUS[2].image_id]
  # Detection looks at strange files all day, and never raises.
  for reader in FORMATS.values():
    reader.detect(path)
