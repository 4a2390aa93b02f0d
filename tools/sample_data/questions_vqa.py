"""Questions of a scene in VQA's form: ten people's short answers to each."""

from collections.abc import Sequence

import numpy as np

from tools.sample_data import facts as facts_lib
from tools.sample_data.captions_en import RELATIONS
from tools.sample_data.facts import Group
from tools.sample_data.frames import choose
from tools.sample_data.nouns import Noun, article
from tools.sample_data.scenes import Scene

ANSWERS = 10
_TIMES = 2  # that each kind of question is asked
# Of ten; an answer that only one gives counts 0.3 (VQA's accuracy), so more of
# them would pay for wrong answers.
_MOST_WHO_DIFFER = 1
_NUMBERS = ("zero", "one", "two", "three", "four", "five")


class VqaAsker:
  """Kinds of questions; each returns None where a scene does not allow it.

  A question is (text, its first words, kind of answer, answer, what others
  say).
  """

  def __init__(
    self, scene: Scene, nouns: Sequence[Noun], rng: np.random.Generator
  ):
    self.facts = scene.facts
    self.rng = rng
    self._nouns = nouns
    self._total = len(scene.objects)
    self._single = [g for g in self.facts.groups if g.count == 1]

  def _shuffled(self, items: Sequence) -> list:
    return [items[i] for i in self.rng.permutation(len(items))]

  def _name(self, group: Group) -> str:
    return self._nouns[group.class_index].en[0][0]

  def what(self):
    for group in self._shuffled(self._single):
      for other in self._shuffled(self._single):
        where = facts_lib.relation(group, other)
        if group is other or where is None:
          continue
        rivals = [
          g
          for g in self.facts.groups
          if g.class_index not in (group.class_index, other.class_index)
        ]
        if any(
          facts_lib.relation(Group(g.class_index, box[None]), other) == where
          for g in rivals
          for box in g.boxes
        ):
          continue
        synonyms = [n for n, _ in self._nouns[group.class_index].en[1:]]
        words = choose(self.rng, RELATIONS[where])
        return (
          f"What is {words} the {self._name(other)}?",
          "what is",
          "other",
          self._name(group),
          synonyms or [f"the {self._name(group)}"],
        )
    return None

  def how_many(self):
    group = choose(self.rng, self.facts.groups)
    if self.rng.random() < 0.5:
      count, things = self._total, "things"
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
    if row == "middle":
      answer = column
    else:
      answer = row if column == "middle" else f"{row} {column}"
    return (
      f"Where is the {self._name(group)}?",
      "where is",
      "other",
      answer,
      [f"in the {answer}", column if column != "middle" else row],
    )

  def is_there(self):
    there = bool(self.rng.random() < 0.5)
    names = {self._name(g) for g in self.facts.groups}
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
  found, texts = [], set()
  kinds = (asker.what, asker.how_many, asker.where, asker.is_there)
  for kind in kinds * _TIMES:
    asked = kind()
    if asked is None or asked[0] in texts:
      continue
    texts.add(asked[0])
    text, first_words, answer_type, answer, others = asked
    differ = int(rng.integers(_MOST_WHO_DIFFER + 1))
    said = [choose(rng, others) for _ in range(differ)]
    said += [answer] * (ANSWERS - differ)
    said = [said[i] for i in rng.permutation(ANSWERS)]
    annotation = {
      "question_type": first_words,
      "answer_type": answer_type,
      "multiple_choice_answer": answer,
      "answers": [
        {"answer_id": number, "answer": word, "answer_confidence": "yes"}
        for number, word in enumerate(said, start=1)
      ],
    }
    found.append(({"question": text}, annotation))
  return found
