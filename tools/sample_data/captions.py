"""Captions of a scene in two languages: several grammars, all of them true."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from tools.sample_data import facts as facts_lib
from tools.sample_data.facts import Facts, Group
from tools.sample_data.nouns import Noun, count_en, count_zh

NUM_CAPTIONS = 5
_ATTEMPTS = 12
T = TypeVar("T")

RELATIONS_EN = {
  "left": ("to the left of", "on the left of"),
  "right": ("to the right of", "on the right of"),
  "above": ("above", "higher up than"),
  "below": ("below", "lower down than"),
}
PLACES_EN = {
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
RELATIONS_ZH = {
  "left": ("左边", "左侧"),
  "right": ("右边", "右侧"),
  "above": ("上面", "上方"),
  "below": ("下面", "下方"),
}
PLACES_ZH = {
  ("top", "left"): ("左上角",),
  ("top", "middle"): ("上方", "顶部"),
  ("top", "right"): ("右上角",),
  ("middle", "left"): ("左边", "左侧"),
  ("middle", "middle"): ("中间", "中央"),
  ("middle", "right"): ("右边", "右侧"),
  ("bottom", "left"): ("左下角",),
  ("bottom", "middle"): ("下方", "底部"),
  ("bottom", "right"): ("右下角",),
}


def choose(rng: np.random.Generator, options: Sequence[T]) -> T:
  """Returns one of the options."""
  return options[int(rng.integers(len(options)))]


class Frames:
  """Five grammars; each returns one caption, or None where none is true.

  Every caption names every group with its count, so that a caption belongs to
  one combination of objects. A language says each sentence in some ways; the
  order in which its words are drawn decides what a seed gives.
  """

  relations: Mapping[str, tuple[str, ...]]
  places: Mapping[tuple[str, str], tuple[str, ...]]
  commas: tuple[str, str]  # between the things of a list; before the last one
  phrase: Callable[[Group], str]  # with its count
  rest: Callable[[Sequence[Group]], str]  # ends a sentence with what is left
  # The ways to say a sentence.
  listings: Callable[[Group, str, str, str], Sequence[str]]
  presences: Callable[[str], Sequence[str]]
  relate: Callable[[Group, str, Group, str], Sequence[str]]
  locate: Callable[[Group, str, str, str], Sequence[str]]
  locate_two: Callable[[Group, str, Sequence[Group], Sequence[str]], str]
  compare: Callable[[Group, Sequence[Group], bool], Sequence[str]]

  def __init__(
    self, facts: Facts, nouns: Sequence[Noun], rng: np.random.Generator
  ):
    self.facts = facts
    self.nouns = nouns
    self.rng = rng

  def choose(self, options: Sequence[T]) -> T:
    return choose(self.rng, options)

  def groups(self) -> list[Group]:
    """The groups in random order."""
    order = self.rng.permutation(len(self.facts.groups))
    return [self.facts.groups[i] for i in order]

  def join(self, groups: Sequence[Group]) -> str:
    *phrases, last = [self.phrase(group) for group in groups]
    comma, before_last = self.commas
    return comma.join(phrases) + before_last + last if phrases else last

  def listing(self) -> str:
    groups = self.groups()
    listed = self.join(groups)
    first, rest = self.phrase(groups[0]), self.join(groups[1:])
    return self.choose(self.listings(groups[0], listed, first, rest))

  def presence(self) -> str:
    return self.choose(self.presences(self.join(self.groups())))

  def relation(self) -> str | None:
    group, other, *rest = self.groups()
    direction = facts_lib.relation(group, other)
    if direction is None:
      return None
    words = self.choose(self.relations[direction])
    return self.choose(self.relate(group, words, other, self.rest(rest)))

  def position(self) -> str | None:
    group, *rest = self.groups()
    cell = facts_lib.place(group, self.facts)
    if cell is None:
      return None
    where = self.choose(self.places[cell])
    second = facts_lib.place(rest[0], self.facts)
    if second not in (None, cell) and self.rng.random() < 0.4:
      return self.locate_two(group, where, rest, self.places[second])
    phrase, tail = self.phrase(group), self.rest(rest)
    return self.choose(self.locate(group, phrase, where, tail))

  def size(self) -> str | None:
    biggest = bool(self.rng.random() < 0.7)
    group = facts_lib.extreme(self.facts, biggest=biggest)
    if group is None:
      return None
    rest = [g for g in self.groups() if g.class_index != group.class_index]
    return self.choose(self.compare(group, rest, biggest))

  def captions(self) -> list[str]:
    """Five distinct ones, one of each grammar where it is possible.

    What a grammar cannot say of the scene is made up from the first three.
    """
    grammars = (
      self.listing,
      self.presence,
      self.relation,
      self.position,
      self.size,
    )
    captions: dict[str, None] = {}
    for grammar in grammars:
      for _ in range(_ATTEMPTS):
        caption = grammar()
        if caption is not None and caption not in captions:
          captions[caption] = None
          break
    while len(captions) < NUM_CAPTIONS:
      caption = self.choose(grammars[:3])()
      if caption is not None:
        captions[caption] = None
    return [*captions]


class EnglishFrames(Frames):
  relations, places, commas = RELATIONS_EN, PLACES_EN, (", ", " and ")

  def _names(self, group: Group) -> tuple[str, str]:
    return self.choose(self.nouns[group.class_index].en)

  def phrase(self, group):
    return count_en(self._names(group), group.count)

  def _definite(self, group: Group) -> str:
    singular, plural = self._names(group)
    if group.count == 1:
      return f"the {singular}"
    return "the " + count_en((singular, plural), group.count)

  def rest(self, groups):
    if not groups:
      return ""
    return self.choose(
      (
        f", with {self.join(groups)}",
        f", along with {self.join(groups)}",
        f", and there {_be(groups[0])} also {self.join(groups)}",
      )
    )

  def listings(self, group, listed, first, rest):
    return (
      listed,
      listed,
      f"there {_be(group)} {listed}",
      f"{first} with {rest}",
      f"{first} together with {rest}",
      f"{first}, and also {rest}",
    )

  def presences(self, listed):
    return (
      f"a picture of {listed}",
      f"an image of {listed}",
      f"a drawing with {listed}",
      f"this picture shows {listed}",
      f"you can see {listed}",
      f"{listed} can be seen in the picture",
    )

  def relate(self, group, words, other, tail):
    be, phrase, definite = _be(group), self.phrase, self._definite
    return (
      f"{phrase(group)} {words} {phrase(other)}{tail}",
      f"{phrase(group)} {be} {words} {phrase(other)}{tail}",
      f"{definite(group)} {be} {words} {definite(other)}{tail}",
      f"there {be} {phrase(group)} {words} {phrase(other)}{tail}",
    )

  def locate(self, group, phrase, where, tail):
    return (
      f"{phrase} {where}{tail}",
      f"{phrase} {_be(group)} {where} of the picture{tail}",
      f"{where} there {_be(group)} {phrase}{tail}",
    )

  def locate_two(self, group, where, rest, others):
    return (
      f"{self.phrase(group)} {where} and {self.phrase(rest[0])} "
      f"{self.choose(others)}{self.rest(rest[1:])}"
    )

  def compare(self, group, rest, biggest):
    word = "biggest" if biggest else "smallest"
    phrase, tail = self.phrase(group), self.rest(rest)
    if biggest and self.rng.random() < 0.4:
      word = "largest"
    compared = "bigger" if biggest else "smaller"
    return (
      f"the {word} thing is {phrase}{tail}",
      f"{phrase} is the {word} thing here{tail}",
      f"{phrase} that is {compared} than {self.join(rest)}",
    )


def _be(group: Group) -> str:
  return "is" if group.count == 1 else "are"


class ChineseFrames(Frames):
  """A bare noun is one object that is known already."""

  relations, places, commas = RELATIONS_ZH, PLACES_ZH, ("、", "和")

  def phrase(self, group):
    noun = self.nouns[group.class_index]
    return count_zh(self.choose(noun.zh), noun.measure, group.count)

  def _known(self, group: Group) -> str:
    if group.count > 1:
      return self.phrase(group)
    return self.choose(self.nouns[group.class_index].zh)

  def rest(self, groups):
    if not groups:
      return ""
    words = self.choose(("还有", "图中还有", "另外还有"))
    return f"，{words}{self.join(groups)}"

  def listings(self, group, listed, first, rest):
    return (listed, listed, f"有{listed}", f"{first}，还有{rest}")

  def presences(self, listed):
    return (
      f"图中有{listed}",
      f"图片里有{listed}",
      f"画面上有{listed}",
      f"这张图上画着{listed}",
      f"一张画着{listed}的图片",
      f"可以看到{listed}",
    )

  def relate(self, group, words, other, tail):
    phrase, known = self.phrase, self._known
    return (
      f"{known(other)}的{words}有{phrase(group)}{tail}",
      f"{known(other)}{words}是{phrase(group)}{tail}",
      f"{phrase(group)}在{known(other)}的{words}{tail}",
      f"{known(group)}在{known(other)}的{words}{tail}",
    )

  def locate(self, group, phrase, where, tail):
    return (
      f"{where}有{phrase}{tail}",
      f"图片{where}是{phrase}{tail}",
      f"{phrase}在图片的{where}{tail}",
    )

  def locate_two(self, group, where, rest, others):
    return (
      f"{where}有{self.phrase(group)}，"
      f"{self.choose(others)}有{self.phrase(rest[0])}{self.rest(rest[1:])}"
    )

  def compare(self, group, rest, biggest):
    word = "大" if biggest else "小"
    return (
      f"最{word}的是{self.phrase(group)}{self.rest(rest)}",
      f"图中最{word}的是{self.phrase(group)}，还有{self.join(rest)}",
      f"{self.phrase(group)}，比{self.join(rest)}都{word}"
      if len(rest) > 1 or rest[0].count > 1
      else f"{self.phrase(group)}，比{self.phrase(rest[0])}{word}",
    )


LANGUAGES: dict[str, type[Frames]] = {"en": EnglishFrames, "zh": ChineseFrames}


def write_captions(
  language: str,
  facts: Facts,
  nouns: Sequence[Noun],
  rng: np.random.Generator,
) -> list[str]:
  """Returns five different true captions; `nouns` is by class index."""
  return LANGUAGES[language](facts, nouns, rng).captions()
