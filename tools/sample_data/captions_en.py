"""English captions of a scene: several grammars, all of them true."""

from collections.abc import Sequence

import numpy as np

from tools.sample_data import facts as facts_lib
from tools.sample_data.facts import Facts, Group
from tools.sample_data.frames import choose, collect, order_groups, split_off
from tools.sample_data.nouns import Noun, count_en

RELATIONS = {
  "left": ("to the left of", "on the left of"),
  "right": ("to the right of", "on the right of"),
  "above": ("above", "higher up than"),
  "below": ("below", "lower down than"),
}
PLACES = {
  ("top", "left"): ("in the top left corner", "in the upper left corner"),
  ("top", "middle"): ("at the top",),
  ("top", "right"): ("in the top right corner", "in the upper right corner"),
  ("middle", "left"): ("on the left side",),
  ("middle", "middle"): ("in the middle", "in the center"),
  ("middle", "right"): ("on the right side",),
  ("bottom", "left"): ("in the bottom left corner", "in the lower left corner"),
  ("bottom", "middle"): ("at the bottom",),
  ("bottom", "right"): (
    "in the bottom right corner",
    "in the lower right corner",
  ),
}


class EnglishFrames:
  """The grammars; each returns one caption, or None where none is true.

  Every caption names every group with its count, so that a caption belongs to
  one combination of objects.
  """

  def __init__(
    self, facts: Facts, nouns: Sequence[Noun], rng: np.random.Generator
  ):
    self.facts = facts
    self.nouns = nouns
    self.rng = rng

  def _names(self, group: Group) -> tuple[str, str]:
    return choose(self.rng, self.nouns[group.class_index].en)

  def _phrase(self, group: Group) -> str:
    return count_en(self._names(group), group.count)

  def _definite(self, group: Group) -> str:
    singular, plural = self._names(group)
    if group.count == 1:
      return f"the {singular}"
    return "the " + count_en((singular, plural), group.count)

  def _list(self, groups: Sequence[Group]) -> str:
    phrases = [self._phrase(group) for group in groups]
    if len(phrases) == 1:
      return phrases[0]
    return ", ".join(phrases[:-1]) + " and " + phrases[-1]

  def _rest(self, groups: Sequence[Group]) -> str:
    """Returns the end of a sentence that names the remaining groups."""
    if not groups:
      return ""
    verb = _be(groups[0])
    return choose(
      self.rng,
      (
        f", with {self._list(groups)}",
        f", along with {self._list(groups)}",
        f", and there {verb} also {self._list(groups)}",
      ),
    )

  def listing(self) -> str:
    groups = order_groups(self.rng, self.facts)
    listed = self._list(groups)
    first, rest = self._phrase(groups[0]), self._list(groups[1:])
    return choose(
      self.rng,
      (
        listed,
        listed,
        f"there {_be(groups[0])} {listed}",
        f"{first} with {rest}",
        f"{first} together with {rest}",
        f"{first}, and also {rest}",
      ),
    )

  def presence(self) -> str:
    listed = self._list(order_groups(self.rng, self.facts))
    return choose(
      self.rng,
      (
        f"a picture of {listed}",
        f"an image of {listed}",
        f"a drawing with {listed}",
        f"this picture shows {listed}",
        f"you can see {listed}",
        f"{listed} can be seen in the picture",
      ),
    )

  def relation(self) -> str | None:
    group, other, *rest = order_groups(self.rng, self.facts)
    direction = facts_lib.relation(group, other)
    if direction is None:
      return None
    words = choose(self.rng, RELATIONS[direction])
    be, tail = _be(group), self._rest(rest)
    return choose(
      self.rng,
      (
        f"{self._phrase(group)} {words} {self._phrase(other)}{tail}",
        f"{self._phrase(group)} {be} {words} {self._phrase(other)}{tail}",
        f"{self._definite(group)} {be} {words} {self._definite(other)}{tail}",
        f"there {be} {self._phrase(group)} {words} {self._phrase(other)}{tail}",
      ),
    )

  def position(self) -> str | None:
    groups = order_groups(self.rng, self.facts)
    group, rest = groups[0], groups[1:]
    cell = facts_lib.place(group, self.facts)
    if cell is None:
      return None
    where = choose(self.rng, PLACES[cell])
    second = facts_lib.place(rest[0], self.facts)
    if second not in (None, cell) and self.rng.random() < 0.4:
      return (
        f"{self._phrase(group)} {where} and {self._phrase(rest[0])} "
        f"{choose(self.rng, PLACES[second])}{self._rest(rest[1:])}"
      )
    phrase, tail = self._phrase(group), self._rest(rest)
    return choose(
      self.rng,
      (
        f"{phrase} {where}{tail}",
        f"{phrase} {_be(group)} {where} of the picture{tail}",
        f"{where} there {_be(group)} {phrase}{tail}",
      ),
    )

  def size(self) -> str | None:
    biggest = bool(self.rng.random() < 0.7)
    group = facts_lib.extreme(self.facts, biggest=biggest)
    if group is None:
      return None
    rest = split_off(order_groups(self.rng, self.facts), group)
    word, compared = (
      ("biggest", "bigger") if biggest else ("smallest", "smaller")
    )
    phrase, tail = self._phrase(group), self._rest(rest)
    if word == "biggest" and self.rng.random() < 0.4:
      word = "largest"
    return choose(
      self.rng,
      (
        f"the {word} thing is {phrase}{tail}",
        f"{phrase} is the {word} thing here{tail}",
        f"{phrase} that is {compared} than {self._list(rest)}",
      ),
    )


def _be(group: Group) -> str:
  return "is" if group.count == 1 else "are"


def captions_en(
  facts: Facts, nouns: Sequence[Noun], rng: np.random.Generator
) -> list[str]:
  """Returns five different true captions; `nouns` is by class index."""
  return collect(EnglishFrames(facts, nouns, rng))
