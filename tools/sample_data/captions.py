"""Captions of a scene in two languages: several grammars, all of them true.

A sentence is a template. What it names in braces is filled in from left to
right: strings as they are, all else drawn anew wherever it is named. `{a:be}`
asks the language for another word than the name of the group `a`. The order of
templates, and of the words in them, decides what a seed gives.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

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


class _Drawn(NamedTuple):
  """Words that are drawn anew by each template that names them."""

  draw: Callable[[str], str]

  def __format__(self, spec: str) -> str:
    return self.draw(spec)


class Frames:
  """Five grammars; each returns one caption, or None where none is true.

  Every caption names every group with its count, so that a caption belongs to
  one combination of objects. A language has the templates.
  """

  relations: Mapping[str, tuple[str, ...]]
  places: Mapping[tuple[str, str], tuple[str, ...]]
  commas: tuple[str, str]  # between the things of a list; before the last one
  also: tuple[str, ...] = ()  # words before groups that were not named yet
  ends: tuple[str, ...]  # of a sentence that leaves `groups`; `a` is the first
  listings: tuple[str, ...]  # `all`, or `first` and `rest`; `a` is the first
  presences: tuple[str, ...]  # `all`
  relatings: tuple[str, ...]  # `a` is `where` as seen from `b`; `end`
  placings: tuple[str, ...]  # `a`, as the `phrase`, is `where`; `end`
  two_places: str  # `a` is `where`, `b` is `there`; `end`
  # A group with its count, or what the spec of a template asks for.
  words: Callable[..., str]
  # A group is the biggest or the smallest, and the rest is there too.
  compare: Callable[[Group, list[Group], bool], str]

  def __init__(
    self, facts: Facts, nouns: Sequence[Noun], rng: np.random.Generator
  ):
    self.facts = facts
    self.nouns = nouns
    self.rng = rng

  def choose(self, options: Sequence[T]) -> T:
    return choose(self.rng, options)

  def say(self, templates: Sequence[str], **things: object) -> str:
    """Fills in all the templates, and returns one of them."""
    filled = {
      name: thing if isinstance(thing, str) else _Drawn(self._drawer(thing))
      for name, thing in things.items()
    }
    return self.choose([text.format(**filled) for text in templates])

  def _drawer(self, thing: object) -> Callable[[str], str]:
    if isinstance(thing, Group):
      return lambda spec: self.words(thing, spec)
    if isinstance(thing, tuple):  # ways to say it
      return lambda _: self.choose(thing)
    if isinstance(thing, list):  # of groups
      return lambda _: self.join(thing)
    return lambda _: thing()

  def groups(self) -> list[Group]:
    """The groups in random order."""
    order = self.rng.permutation(len(self.facts.groups))
    return [self.facts.groups[i] for i in order]

  def join(self, groups: list[Group]) -> str:
    *phrases, last = [self.words(group) for group in groups]
    comma, before_last = self.commas
    return comma.join(phrases) + before_last + last if phrases else last

  def end(self, groups: list[Group]) -> str:
    """Ends a sentence with what it has not named."""
    if not groups:
      return ""
    return self.say(self.ends, groups=groups, a=groups[0], also=self.also)

  def listing(self) -> str:
    a, *rest = groups = self.groups()
    every, first, others = self.join(groups), self.words(a), self.join(rest)
    return self.say(self.listings, all=every, first=first, rest=others, a=a)

  def presence(self) -> str:
    return self.say(self.presences, all=self.join(self.groups()))

  def relation(self) -> str | None:
    a, b, *rest = self.groups()
    direction = facts_lib.relation(a, b)
    if direction is None:
      return None
    where = self.choose(self.relations[direction])
    return self.say(self.relatings, a=a, b=b, where=where, end=self.end(rest))

  def position(self) -> str | None:
    a, b, *rest = self.groups()
    cell, other_cell = (facts_lib.place(g, self.facts) for g in (a, b))
    if cell is None:
      return None
    where = self.choose(self.places[cell])
    if other_cell not in (None, cell) and self.rng.random() < 0.4:
      there, end = self.places[other_cell], lambda: self.end(rest)
      return self.say(
        (self.two_places,), a=a, b=b, where=where, there=there, end=end
      )
    phrase, end = self.words(a), self.end([b, *rest])
    return self.say(self.placings, a=a, phrase=phrase, where=where, end=end)

  def size(self) -> str | None:
    biggest = bool(self.rng.random() < 0.7)
    group = facts_lib.extreme(self.facts, biggest=biggest)
    if group is None:
      return None
    rest = [g for g in self.groups() if g.class_index != group.class_index]
    return self.compare(group, rest, biggest)

  def captions(self) -> list[str]:
    """Five distinct ones, one of each grammar where it is possible.

    What a grammar cannot say of the scene is made up from the first three.
    """
    grammars = [self.listing, self.presence, self.relation]
    grammars += [self.position, self.size]
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
  ends = (
    ", with {groups}",
    ", along with {groups}",
    ", and there {a:be} also {groups}",
  )
  listings = (
    "{all}",
    "{all}",
    "there {a:be} {all}",
    "{first} with {rest}",
    "{first} together with {rest}",
    "{first}, and also {rest}",
  )
  presences = (
    "a picture of {all}",
    "an image of {all}",
    "a drawing with {all}",
    "this picture shows {all}",
    "you can see {all}",
    "{all} can be seen in the picture",
  )
  relatings = (
    "{a} {where} {b}{end}",
    "{a} {a:be} {where} {b}{end}",
    "{a:the} {a:be} {where} {b:the}{end}",
    "there {a:be} {a} {where} {b}{end}",
  )
  placings = (
    "{phrase} {where}{end}",
    "{phrase} {a:be} {where} of the picture{end}",
    "{where} there {a:be} {phrase}{end}",
  )
  two_places = "{a} {where} and {b} {there}{end}"

  def words(self, group, spec=""):
    if spec == "be":
      return "is" if group.count == 1 else "are"
    names = self.choose(self.nouns[group.class_index].en)
    one = group.count == 1
    if spec == "the":
      return "the " + (names[0] if one else count_en(names, group.count))
    return count_en(names, group.count)

  def compare(self, group, rest, biggest):
    size = "biggest" if biggest else "smallest"
    phrase, end = self.words(group), self.end(rest)
    if biggest and self.rng.random() < 0.4:
      size = "largest"
    sentences = (
      f"the {size} thing is {phrase}{end}",
      f"{phrase} is the {size} thing here{end}",
      f"{phrase} that is {'bigger' if biggest else 'smaller'} than {{rest}}",
    )
    return self.say(sentences, rest=rest)


class ChineseFrames(Frames):
  """A bare noun is one object that is known already."""

  relations, places, commas = RELATIONS_ZH, PLACES_ZH, ("、", "和")
  also = ("还有", "图中还有", "另外还有")
  ends = ("，{also}{groups}",)
  listings = ("{all}", "{all}", "有{all}", "{first}，还有{rest}")
  presences = (
    "图中有{all}",
    "图片里有{all}",
    "画面上有{all}",
    "这张图上画着{all}",
    "一张画着{all}的图片",
    "可以看到{all}",
  )
  relatings = (
    "{b:known}的{where}有{a}{end}",
    "{b:known}{where}是{a}{end}",
    "{a}在{b:known}的{where}{end}",
    "{a:known}在{b:known}的{where}{end}",
  )
  placings = (
    "{where}有{phrase}{end}",
    "图片{where}是{phrase}{end}",
    "{phrase}在图片的{where}{end}",
  )
  two_places = "{where}有{a}，{there}有{b}{end}"

  def words(self, group, spec=""):
    noun = self.nouns[group.class_index]
    name = self.choose(noun.zh)
    if spec == "known" and group.count == 1:
      return name
    return count_zh(name, noun.measure, group.count)

  def compare(self, group, rest, biggest):
    size = "大" if biggest else "小"
    several = len(rest) > 1 or rest[0].count > 1
    sentences = (
      "最{size}的是{a}{end}",
      "图中最{size}的是{a}，还有{rest}",
      "{a}，比{rest}都{size}" if several else "{a}，比{rest}{size}",
    )
    return self.say(
      sentences, size=size, a=group, rest=rest, end=lambda: self.end(rest)
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


def read_captions(folder: Path, language: str) -> list[dict]:
  """The lines of a finished folder's captions, a scene each."""
  text = (folder / f"captions_{language}.jsonl").read_text("utf-8")
  return [json.loads(line) for line in text.splitlines()]
