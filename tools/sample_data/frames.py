"""What the grammars of both languages share: choosing and collecting."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np

from tools.sample_data.facts import Facts, Group

NUM_CAPTIONS = 5
_ATTEMPTS = 12
T = TypeVar("T")


class Frames(Protocol):
  """Grammars of one language; None says that a scene does not allow it."""

  rng: np.random.Generator

  def listing(self) -> str | None: ...
  def presence(self) -> str | None: ...
  def relation(self) -> str | None: ...
  def position(self) -> str | None: ...
  def size(self) -> str | None: ...


def choose(rng: np.random.Generator, options: Sequence[T]) -> T:
  """Returns one of the options."""
  return options[int(rng.integers(len(options)))]


def order_groups(rng: np.random.Generator, facts: Facts) -> list[Group]:
  """Returns the groups in random order."""
  return [facts.groups[i] for i in rng.permutation(len(facts.groups))]


def split_off(groups: Sequence[Group], group: Group) -> list[Group]:
  """Returns the other groups."""
  return [g for g in groups if g.class_index != group.class_index]


def collect(frames: Frames) -> list[str]:
  """Returns five distinct captions, one of each grammar where it is possible.

  What a grammar cannot say of the scene is made up from the first three.
  """
  captions: list[str] = []
  grammars = (
    frames.listing,
    frames.presence,
    frames.relation,
    frames.position,
    frames.size,
  )
  for grammar in grammars:
    for _ in range(_ATTEMPTS):
      caption = grammar()
      if caption is not None and caption not in captions:
        captions.append(caption)
        break
  while len(captions) < NUM_CAPTIONS:
    caption = choose(frames.rng, grammars[:3])()
    if caption is not None and caption not in captions:
      captions.append(caption)
  return captions
