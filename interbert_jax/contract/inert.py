"""Pickles of strangers, read without running anything that they name.

An unpickler here knows few names, and any other is refused. What it makes are
inert stand-ins: a pickle can pass them around, and nothing else. A resolver
turns them into values afterwards, when sizes have been checked. `pickle_scan`
comes before both.
"""

import io
import pickle  # nosec B403 # base of the restricted unpicklers
import sys
from collections.abc import Callable, Mapping
from typing import Any

PLAIN = (str, int, float, bool, bytes)


class Inert:
  """An object that a pickle can pass around but not change."""

  __slots__ = ()

  def __setstate__(self, state):
    raise pickle.UnpicklingError(f"cannot set the state of {type(self)}")


class Constructor(Inert):
  """A permitted callable, wrapped so that no attribute can be set on it."""

  __slots__ = ("make",)

  def __init__(self, make: Callable):
    self.make = make

  def __call__(self, *args):
    return self.make(*args)


class Unpickler(pickle.Unpickler):
  """Knows the given names, and no others.

  Args:
    data: the pickle.
    names: (module, name) -> what stands for it.
    encoding: of the texts of Python 2.
  """

  def __init__(
    self, data: bytes, names: Mapping[tuple[str, str], Any], *, encoding: str
  ):
    super().__init__(io.BytesIO(data), encoding=encoding)
    self._names = names

  def find_class(self, module: str, name: str):
    try:
      return self._names[module, name]
    except KeyError:
      raise pickle.UnpicklingError(
        f"refusing to load global {module}.{name}"
      ) from None

  def persistent_load(self, pid):
    raise pickle.UnpicklingError("refusing a persistent id")


def name_of(value: Any) -> str:
  """The type of a value or stand-in, for messages."""
  return type(value).__name__.strip("_")


def check_key(key: Any) -> None:
  """Refuses keys that may take forever to hash, as tuples can."""
  if key is not None and type(key) not in PLAIN:
    raise pickle.UnpicklingError(
      f"found {name_of(key)} as dict key or in a set"
    )


def take_all(values: list | tuple) -> list:
  """Empties a list into a new one: a pickle can then not copy it many times."""
  if values == ():
    return []
  if type(values) is not list:
    raise pickle.UnpicklingError(f"expected a list, found {type(values)}")
  taken = values[:]
  values.clear()
  return taken


def take_pairs(pairs: list | tuple = ()) -> dict:
  """The dict of a list of pairs, which is emptied as in `take_all`."""
  taken = take_all(pairs)
  for pair in taken:
    if type(pair) not in (list, tuple) or len(pair) != 2:
      raise pickle.UnpicklingError("an OrderedDict of something else")
    check_key(pair[0])
  return dict(taken)


class Resolver:
  """Makes values of what an unpickler has built.

  By identity: an object that is shared is made once and stays shared.

  Args:
    max_bytes: of all that is made. A small pickle can ask for much: a thousand
      arrays of the same list, or numbers as long as the file.
  """

  MAX_DEPTH = 32

  def __init__(self, max_bytes: int):
    self._left = self._max_bytes = max_bytes
    # The stand-in is kept too, so that no other object can get its identity.
    self._done: dict[int, tuple[Any, Any]] = {}

  def once(self, value: Any, make: Callable[[], Any]) -> Any:
    """What was made of this very object before, or is made of it now."""
    if id(value) not in self._done:
      made = make()
      self.spend(sys.getsizeof(made))
      self._done[id(value)] = value, made
    return self._done[id(value)][1]

  def spend(self, size: int) -> None:
    """Counts the bytes of something that is made."""
    self._left -= size
    if self._left < 0:
      raise pickle.UnpicklingError(
        f"what it holds takes more than {self._max_bytes} bytes"
      )

  def resolve(self, value: Any, depth: int = 0) -> Any:
    if value is None or type(value) in PLAIN:
      return value
    if depth > self.MAX_DEPTH:
      raise pickle.UnpicklingError(f"nested deeper than {self.MAX_DEPTH}")
    return self.once(value, lambda: self.convert(value, depth + 1))

  def convert(self, value: Any, depth: int) -> Any:
    """Plain containers; subclasses know their stand-ins."""
    kind = type(value)
    if kind is dict:
      for key in value:
        check_key(key)
      return {key: self.resolve(item, depth) for key, item in value.items()}
    if kind in (list, tuple):
      return kind(self.resolve(item, depth) for item in value)
    raise pickle.UnpicklingError(
      f"found {name_of(value)} where a plain value belongs"
    )
