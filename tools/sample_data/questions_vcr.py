"""Questions of a scene in VCR's form: four answers, four rationales of each.

What is right is true of the scene, what is wrong is not. Wrong choices are of
the same form as right ones, so that reading without looking does not help.
"""

from collections.abc import Sequence

import numpy as np

from tools.sample_data import facts as facts_lib
from tools.sample_data.captions_en import PLACES, RELATIONS
from tools.sample_data.facts import Facts, Group
from tools.sample_data.nouns import Noun
from tools.sample_data.scenes import Scene

QUESTIONS_PER_SCENE = 3
CHOICES = 4
_NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five"}

# A word, or the numbers of objects.
Words = list[str | list[int]]


class VcrAsker:
  """Kinds of questions; each returns None where a scene does not allow it.

  A question is (words, answers, rationales), the right ones first.
  """

  def __init__(
    self, scene: Scene, nouns: Sequence[Noun], rng: np.random.Generator
  ):
    self.facts: Facts = scene.facts
    self.rng = rng
    self._classes = [thing.class_index for thing in scene.objects]
    self._nouns = nouns
    # Things that their class tells from all others.
    self._single = [g for g in self.facts.groups if g.count == 1]

  def _shuffled(self, items: Sequence) -> list:
    return [items[i] for i in self.rng.permutation(len(items))]

  def _the(self, group: Group) -> Words:
    return ["the", [self._classes.index(group.class_index)]]

  def _absent(self, count: int) -> list[Words]:
    """Things that are not there, by their names."""
    names = {self._nouns[index].en[0][0] for index in self._classes}
    found = []
    for index in self.rng.permutation(len(self._nouns)).tolist():
      name = self._nouns[index].en[0][0]
      if name not in names:
        names.add(name)
        found.append(["the", *name.split()])
      if len(found) == count:
        break
    return found

  def _wrong_things(self, *right: Group) -> list[Words]:
    """Three things that are not the right one: at most two of the picture."""
    rest = [
      g
      for g in self._single
      if g.class_index not in [r.class_index for r in right]
    ]
    found = [self._the(g) for g in self._shuffled(rest)[:2]]
    return found + self._absent(CHOICES - 1 - len(found))

  def relation(self):
    for group in self._shuffled(self._single):
      for other in self._shuffled(self._single):
        where = facts_lib.relation(group, other)
        if group is other or where is None:
          continue
        if self._others_there(group, other, where):
          continue
        asked = ["What", "is", *RELATIONS[where][0].split(), *self._the(other)]
        things = [self._the(group), *self._wrong_things(group, other)]
        places = (
          facts_lib.place(group, self.facts),
          facts_lib.place(other, self.facts),
        )
        rationales = [
          [*self._the(group), "is", *_place(first), "and", *self._the(other)]
          + ["is", *_place(second)]
          for first, second in [places, *self._other_places(places)]
        ]
        return asked, things, rationales
    return None

  def _others_there(self, group: Group, other: Group, where: str) -> bool:
    """Whether something else stands in this direction too."""
    return any(
      facts_lib.relation(Group(g.class_index, box[None]), other) == where
      for g in self.facts.groups
      for box in g.boxes
      if g.class_index not in (group.class_index, other.class_index)
    )

  def _other_places(self, places: tuple) -> list[tuple]:
    cells = list(PLACES)
    pairs = [(a, b) for a in cells for b in cells if (a, b) != places]
    return self._shuffled(pairs)[: CHOICES - 1]

  def where(self):
    for group in self._shuffled(self._single):
      for other in self._shuffled(self._single):
        direction = facts_lib.relation(group, other)
        if group is other or direction is None:
          continue
        cell = facts_lib.place(group, self.facts)
        others = self._shuffled([c for c in PLACES if c != cell])
        wrong = [d for d in RELATIONS if d != direction]
        return (
          ["Where", "is", *self._the(group)],
          [["It", "is", *_place(c)] for c in [cell, *others[: CHOICES - 1]]],
          [
            [*self._the(group), "is", *RELATIONS[d][0].split()]
            + self._the(other)
            for d in [direction, *self._shuffled(wrong)]
          ],
        )
    return None

  def how_many(self):
    count = len(self._classes)
    wrong = [n for n in _NUMBERS if n != count]
    # The same number of things in each, one of which is not there.
    lists = [[["the", [i]] for i in range(count)]]
    for absent in self._absent(CHOICES - 1):
      things = list(lists[0])
      things[int(self.rng.integers(count))] = absent
      lists.append(things)
    return (
      ["How", "many", "things", "are", "there"],
      [
        ["There", "are", _NUMBERS[n], "things"]
        for n in [count, *self._shuffled(wrong)]
      ],
      [["I", "see", *_listed(things)] for things in lists],
    )

  def which_is_biggest(self):
    group = facts_lib.extreme(self.facts, biggest=True)
    rest = [g for g in self._single if g is not group]
    if group is None or not rest:
      return None
    smaller = [self._the(self._shuffled(rest)[0]), *self._absent(CHOICES - 1)]
    return (
      ["Which", "thing", "is", "the", "biggest"],
      [self._the(group), *self._wrong_things(group)],
      [["Because", *thing, "is", "smaller"] for thing in smaller],
    )


def _place(cell: tuple[str, str]) -> list[str]:
  return PLACES[cell][0].split()


def _listed(things: Sequence[Words]) -> Words:
  found: Words = list(things[0])
  for number, thing in enumerate(things[1:], start=2):
    found += ["and" if number == len(things) else ",", *thing]
  return found


def _sentence(words: Words, end: str) -> Words:
  first = words[0]
  return [first[0].upper() + first[1:], *words[1:], end]


def vcr_questions(
  scene: Scene, nouns: Sequence[Noun], rng: np.random.Generator
) -> list[dict]:
  """The fields of VCR's questions that are of the scene."""
  asker = VcrAsker(scene, nouns, rng)
  kinds = (
    asker.relation,
    asker.where,
    asker.how_many,
    asker.which_is_biggest,
  )
  found = []
  for number in rng.permutation(len(kinds)):
    asked = kinds[number]()
    if asked is None:
      continue
    words, answers, rationales = asked
    entry = {
      "objects": [nouns[t.class_index].en[0][0] for t in scene.objects],
      "question": _sentence(words, "?"),
    }
    for name, choices in (("answer", answers), ("rationale", rationales)):
      order = rng.permutation(CHOICES)
      entry[f"{name}_choices"] = [_sentence(choices[i], ".") for i in order]
      entry[f"{name}_label"] = int(np.argmin(order))
    found.append(entry)
    if len(found) == QUESTIONS_PER_SCENE:
      break
  return found
