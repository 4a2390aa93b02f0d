"""Questions of a scene: VCR's four answers and rationales, VQA's ten answers.

What is right is true of the scene, what is wrong is not. VCR's wrong choices
are of the same form as right ones, so that reading without looking does not
help.
"""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from tools.sample_data import facts as facts_lib
from tools.sample_data.captions import PLACES_EN, RELATIONS_EN, choose
from tools.sample_data.facts import Group
from tools.sample_data.nouns import Noun, article
from tools.sample_data.scenes import Scene

VCR_QUESTIONS = 3  # of a scene
VCR_CHOICES = 4
VQA_ANSWERS = 10
_VQA_TIMES = 2  # that each kind of question is asked
# Of ten; an answer that only one gives counts 0.3 (VQA's accuracy), so more of
# them would pay for wrong answers.
_MOST_WHO_DIFFER = 1
_NUMBERS = ("zero", "one", "two", "three", "four", "five")

# A word, or the numbers of objects.
Words = list[str | list[int]]


class Asker:
  """Kinds of questions; each returns None where a scene does not allow it."""

  def __init__(
    self, scene: Scene, nouns: Sequence[Noun], rng: np.random.Generator
  ):
    self.facts = scene.facts
    self.rng = rng
    self._classes = [thing.class_index for thing in scene.objects]
    self._nouns = nouns
    # Things that their class tells from all others.
    self._single = [g for g in self.facts.groups if g.count == 1]

  def _shuffled(self, items: Sequence) -> list:
    return [items[i] for i in self.rng.permutation(len(items))]

  def _name(self, class_index: int) -> str:
    return self._nouns[class_index].en[0][0]

  def _related(
    self, *, alone: bool = True
  ) -> Iterator[tuple[Group, Group, str]]:
    """Two things, and where the first is seen from the second.

    By default nothing else stands in this direction of the second.
    """
    for group in self._shuffled(self._single):
      for other in self._shuffled(self._single):
        where = facts_lib.relation(group, other)
        if group is other or where is None:
          continue
        if not alone or where not in self._directions(group, other):
          yield group, other, where

  def _directions(self, group: Group, other: Group) -> set[str | None]:
    """Where all but these two stand, seen from the other."""
    return {
      facts_lib.relation(Group(g.class_index, box[None]), other)
      for g in self.facts.groups
      for box in g.boxes
      if g.class_index not in (group.class_index, other.class_index)
    }


class VcrAsker(Asker):
  """A question is (words, answers, rationales), the right ones first."""

  def _the(self, group: Group) -> Words:
    return ["the", [self._classes.index(group.class_index)]]

  def _absent(self, count: int) -> list[Words]:
    """Things that are not there, by their names."""
    here = {self._name(index) for index in self._classes}
    names = map(self._name, self.rng.permutation(len(self._nouns)).tolist())
    absent = (name for name in dict.fromkeys(names) if name not in here)
    return [["the", *name.split()] for name in itertools.islice(absent, count)]

  def _wrong_things(self, *right: Group) -> list[Words]:
    """Three things that are not the right one: at most two of the picture."""
    rest = [g for g in self._single if all(g is not r for r in right)]
    things = [self._the(g) for g in self._shuffled(rest)[:2]]
    return things + self._absent(VCR_CHOICES - 1 - len(things))

  def relation(self):
    for group, other, where in self._related():
      asked = ["What", "is", *_direction(where), *self._the(other)]
      things = [self._the(group), *self._wrong_things(group, other)]
      places = tuple(facts_lib.place(g, self.facts) for g in (group, other))
      rationales = [
        [*self._the(group), "is", *_place(first), "and", *self._the(other)]
        + ["is", *_place(second)]
        for first, second in [places, *self._other_places(places)]
      ]
      return asked, things, rationales
    return None

  def _other_places(self, places: tuple) -> list[tuple]:
    cells = list(PLACES_EN)
    pairs = [(a, b) for a in cells for b in cells if (a, b) != places]
    return self._shuffled(pairs)[: VCR_CHOICES - 1]

  def where(self):
    for group, other, direction in self._related(alone=False):
      cell = facts_lib.place(group, self.facts)
      others = self._shuffled([c for c in PLACES_EN if c != cell])
      wrong = [d for d in RELATIONS_EN if d != direction]
      return (
        ["Where", "is", *self._the(group)],
        [["It", "is", *_place(c)] for c in [cell, *others[: VCR_CHOICES - 1]]],
        [
          [*self._the(group), "is", *_direction(d), *self._the(other)]
          for d in [direction, *self._shuffled(wrong)]
        ],
      )
    return None

  def how_many(self):
    count = len(self._classes)
    wrong = [n for n in range(2, len(_NUMBERS)) if n != count]
    # The same number of things in each, one of which is not there.
    lists = [[["the", [i]] for i in range(count)]]
    for absent in self._absent(VCR_CHOICES - 1):
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
    there = self._the(self._shuffled(rest)[0])
    smaller = [there, *self._absent(VCR_CHOICES - 1)]
    return (
      ["Which", "thing", "is", "the", "biggest"],
      [self._the(group), *self._wrong_things(group)],
      [["Because", *thing, "is", "smaller"] for thing in smaller],
    )


def _place(cell: tuple[str, str]) -> list[str]:
  return PLACES_EN[cell][0].split()


def _direction(where: str) -> list[str]:
  return RELATIONS_EN[where][0].split()


def _listed(things: Sequence[Words]) -> Words:
  words: Words = list(things[0])
  for number, thing in enumerate(things[1:], start=2):
    words += ["and" if number == len(things) else ",", *thing]
  return words


def _sentence(words: Words, end: str) -> Words:
  first = words[0]
  return [first[0].upper() + first[1:], *words[1:], end]


def vcr_questions(
  scene: Scene, nouns: Sequence[Noun], rng: np.random.Generator
) -> list[dict]:
  """The fields of VCR's questions that are of the scene."""
  asker = VcrAsker(scene, nouns, rng)
  kinds = [asker.relation, asker.where, asker.how_many, asker.which_is_biggest]
  questions = []
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
      order = rng.permutation(VCR_CHOICES)
      entry[f"{name}_choices"] = [_sentence(choices[i], ".") for i in order]
      entry[f"{name}_label"] = int(np.argmin(order))
    questions.append(entry)
    if len(questions) == VCR_QUESTIONS:
      break
  return questions


class VqaAsker(Asker):
  """A question is (text, its first words, kind of answer, answer, others').

  The last are what people say who do not give the answer.
  """

  def what(self):
    for group, other, where in self._related():
      name = self._name(group.class_index)
      synonyms = [n for n, _ in self._nouns[group.class_index].en[1:]]
      words = choose(self.rng, RELATIONS_EN[where])
      return (
        f"What is {words} the {self._name(other.class_index)}?",
        "what is",
        "other",
        name,
        synonyms or [f"the {name}"],
      )
    return None

  def how_many(self):
    group = choose(self.rng, self.facts.groups)
    if self.rng.random() < 0.5:
      count, things = len(self._classes), "things"
    else:
      count = group.count
      things = self._nouns[group.class_index].en[0][1]
    return (
      f"How many {things} are there?",
      "how many",
      "number",
      str(count),
      [_NUMBERS[count], str(count + 1)],
    )

  def where(self):
    if not self._single:
      return None
    group = choose(self.rng, self._single)
    row, column = facts_lib.place(group, self.facts)
    parts = [part for part in (row, column) if part != "middle"]
    answer = " ".join(parts) or "middle"
    return (
      f"Where is the {self._name(group.class_index)}?",
      "where is",
      "other",
      answer,
      [f"in the {answer}", column if column != "middle" else row],
    )

  def is_there(self):
    there = bool(self.rng.random() < 0.5)
    names = {self._name(g.class_index) for g in self.facts.groups}
    known = [noun.en[0][0] for noun in self._nouns]
    name = choose(
      self.rng, sorted(names if there else set(known).difference(names))
    )
    answer, other = ("yes", "no") if there else ("no", "yes")
    return (
      f"Is there {article(name)} {name} in the picture?",
      "is there",
      "yes/no",
      answer,
      [other],
    )


def vqa_questions(
  scene: Scene, nouns: Sequence[Noun], rng: np.random.Generator
) -> list[tuple[dict, dict]]:
  """(question, its annotation), without ids, in the fields of VQA v2."""
  asker = VqaAsker(scene, nouns, rng)
  questions, texts = [], set()
  kinds = (asker.what, asker.how_many, asker.where, asker.is_there)
  for kind in kinds * _VQA_TIMES:
    asked = kind()
    if asked is None or asked[0] in texts:
      continue
    texts.add(asked[0])
    text, first_words, answer_type, answer, others = asked
    differ = int(rng.integers(_MOST_WHO_DIFFER + 1))
    said = [choose(rng, others) for _ in range(differ)]
    said += [answer] * (VQA_ANSWERS - differ)
    said = [said[i] for i in rng.permutation(VQA_ANSWERS)]
    annotation = {
      "question_type": first_words,
      "answer_type": answer_type,
      "multiple_choice_answer": answer,
      "answers": [
        {"answer_id": number, "answer": word, "answer_confidence": "yes"}
        for number, word in enumerate(said, start=1)
      ],
    }
    questions.append(({"question": text}, annotation))
  return questions
