"""Damaged and random bytes never leave a reader but as its own error.

Each reader returns or refuses, in bounded memory, and looks up no global.
bench/fuzz.py does the same for as long as one likes.
"""

import pickle
import resource
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fuzz_targets import targets
from tests.support.properties import bounded

ROOM = 2 << 30  # bytes that a reader may ask for beyond what is in use
_NUMBERS = (b"\xff" * 4, b"\xff\xff\xff\x7f", b"\x00" * 4, b"9" * 20, b"[" * 40)
_CHANGES = st.lists(
  st.tuples(
    st.sampled_from(["set", "cut", "insert", "repeat", "end"]),
    st.floats(0, 1, exclude_max=True),
    st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from(_NUMBERS)),
  ),
  min_size=1,
  max_size=6,
)


def changed(data: bytes, changes) -> bytes:
  """Does these changes at these places, as shares of the length."""
  for kind, place, value in changes:
    at = int(place * len(data))
    if kind == "set":
      data = data[:at] + value + data[at + len(value) :]
    elif kind == "cut":
      data = data[:at] + data[at + len(value) :]
    elif kind == "insert":
      data = data[:at] + value + data[at:]
    elif kind == "repeat":
      data = data[:at] + data[at : at + 16] * len(value) + data[at:]
    else:
      data = data[:at]
  return data


@pytest.fixture
def bounded_memory():
  """A reader that asks for more gets a MemoryError, which is a failure."""
  before = resource.getrlimit(resource.RLIMIT_AS)
  with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
  resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, before[1]))
  yield
  resource.setrlimit(resource.RLIMIT_AS, before)


_LOOKED_UP: list[str] = []


def _note(event, arguments):
  if event == "pickle.find_class":
    _LOOKED_UP.append(".".join(map(str, arguments)))


sys.addaudithook(_note)


def test_the_hook_sees_what_pickle_looks_up():
  _LOOKED_UP.clear()
  pickle.loads(b"cos\ngetpid\n.")
  assert _LOOKED_UP == ["os.getpid"]


@pytest.mark.parametrize("name", targets())
def test_damage_is_refused(name, tmp_path, bounded_memory):
  target = targets()[name]
  _LOOKED_UP.clear()

  @bounded(60)
  @given(
    st.one_of(
      st.builds(changed, st.sampled_from(target.seeds), _CHANGES),
      st.binary(max_size=64),
    )
  )
  def run(data):
    try:
      target.read(data, tmp_path)
    except target.errors as error:
      assert str(error)

  run()
  assert not _LOOKED_UP
  for seed in target.seeds:
    try:
      target.read(seed, tmp_path)
    except target.errors:
      # These seeds are honest as far as one of several readers goes.
      assert name in ("manifest", "torch pickle") or "annotations" in name
