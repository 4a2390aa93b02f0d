"""Answers of VQA: their normal form, the vocabulary, and scores by votes.

Two people who mean the same rarely write the same. The published rules (VQA,
"evaluation code" on visualqa.org) make answers comparable: lower case, numbers
as digits, no articles, contractions with their apostrophe, and of punctuation
only some: & $ % ' # : * ~ ^ | stay. Where all people say the same, the official
accuracy compares their answer as it is; a classifier learns its normal form.
"""

import collections
import pathlib
import re
from collections.abc import Iterable, Sequence

from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import decode, facts_sha256
from interbert_jax.contract.json_file import read_json

MAX_ANSWERS = 10  # answers to a question
_DIGITS = {
  word: str(number)
  for number, word in enumerate(
    "zero one two three four five six seven eight nine ten".split()
  )
} | {"none": "0"}
_ARTICLES = frozenset(("a", "an", "the"))
# Left out are those that without their apostrophe are other words (its, well,
# were, ...): one cannot know what was meant.
_CONTRACTIONS = {
  word.replace("'", ""): word
  for word in """
  ain't aren't can't couldn't couldn't've could've didn't doesn't don't hadn't
  hadn't've hasn't haven't he'd he'd've he's how'd how's i'd've i'm i've isn't
  it'd it'd've it'll let's ma'am mightn't mightn't've might've mustn't must've
  needn't o'clock oughtn't shan't she'd've she's should've shouldn't
  shouldn't've somebody's someone's something's that'd that's there'd there're
  there's they'd they'd've they'll they're they've wasn't we'd've we've weren't
  what'll what're what's what've when's where'd where's where've who'd who'll
  who's who've why'd why're why's won't would've wouldn't wouldn't've y'all
  you'd you'd've you'll you're you've
  """.split()
}
_THOUSANDS = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")  # a decimal point stays
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'


def normal_answer(answer: str) -> str:
  """The normal form of an answer."""
  text = answer = answer.lower()
  # A mark beside a space goes; another one becomes a space.
  thousands = _THOUSANDS.search(answer) is not None
  for mark in _PUNCTUATION:
    goes = thousands or f"{mark} " in answer or f" {mark}" in answer
    text = text.replace(mark, "" if goes else " ")
  text = _PERIOD.sub("", text)
  words = [_DIGITS.get(word, word) for word in text.split()]
  return " ".join(
    _CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES
  )


def votes_of(answers: Iterable[str]) -> dict[str, int]:
  """How many people gave each answer, in normal form, most frequent first."""
  return dict(collections.Counter(map(normal_answer, answers)).most_common())


def is_compared(answer: str, answers: Sequence[str]) -> bool:
  """Whether the official accuracy finds a normal form among people's answers.

  It does not, where all say the same in another form.
  """
  return len(set(answers)) > 1 or answer == answers[0]


def soft_score(votes: int) -> float:
  """The target of a classifier: 1 if three or more people gave the answer."""
  return min(votes / 3, 1.0)


def accuracy(votes: int, people: int) -> float:
  """The official accuracy of an answer.

  Each person is left out in turn, and the answer held against the others: the
  mean of min(votes of the others / 3, 1).
  """
  without = votes * soft_score(votes - 1) + (people - votes) * soft_score(votes)
  return without / people


def build_vocabulary(answers: Iterable[str], *, min_count: int) -> list[str]:
  """Answers that are the best of at least min_count questions.

  The most frequent ones come first, equally frequent ones in alphabetical
  order. With min_count 9 and the questions of train and val these are the
  usual 3,129 answers.
  """
  counts = collections.Counter(map(normal_answer, answers))
  kept = [(-n, text) for text, n in counts.items() if n >= min_count and text]
  return [text for _, text in sorted(kept)]


def read_vocabulary(path: str | pathlib.Path) -> list[str]:
  """Answers of a file: a JSON list, or one a line; in normal form.

  Published lists have an empty answer, and some that are one in normal form:
  these stay as they are, so that outputs of the model keep their number.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise DataError("no such file of answers", file=path)
  if path.suffix == ".json":
    answers = read_json(path)
    if not isinstance(answers, list) or not all(
      isinstance(answer, str) for answer in answers
    ):
      raise DataError("wanted a JSON list of answers", file=path)
  else:
    text = decode(path.read_bytes(), file=path)
    answers = text.removesuffix("\n").split("\n")
  place: dict[str, int] = {}
  for number, answer in enumerate(answers, start=1):
    normal = normal_answer(answer)
    if normal in place:
      normal = answer
    if place.setdefault(normal, number) != number:
      raise DataError(
        f"{answer!r} is {normal!r}, as answer {place[normal]} already",
        file=path,
        record=number,
        hint="an output of the model for each answer once",
      )
  return list(place)


def vocabulary_sha256(answers: Sequence[str]) -> str:
  """A hash of the answers, in the order of the model's outputs."""
  return facts_sha256(list(answers))
