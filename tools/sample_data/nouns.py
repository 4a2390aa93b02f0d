"""A noun in two languages: plural and article, measure word and number."""

import dataclasses

_NUMBERS_EN = {2: "two", 3: "three", 4: "four"}
_NUMBERS_ZH = {1: "一", 2: "两", 3: "三", 4: "四"}
# Spelt with a vowel and said with a consonant, and the other way round.
_CONSONANT_SOUND = (
  *("uni", "use", "usu", "uti", "uk", "ufo", "eu", "ewe", "one", "once"),
)
_VOWEL_SOUND = ("hour", "honest", "honour", "honor", "heir", "x-ray", "mri")
_VOWEL_SOUND_UNI = ("unin", "unim", "unid")  # uninteresting, unimportant


@dataclasses.dataclass(frozen=True)
class Noun:
  """What a thing is called: the usual name first, then synonyms.

  Attributes:
    en: pairs of singular and plural.
    zh: names that share the measure word.
    measure: the Chinese measure word.
  """

  en: tuple[tuple[str, str], ...]
  zh: tuple[str, ...]
  measure: str


def article(phrase: str) -> str:
  """Returns "a" or "an", by sound."""
  word = phrase.lower()
  if word.startswith(_VOWEL_SOUND):
    return "an"
  if word.startswith(_CONSONANT_SOUND) and not word.startswith(
    _VOWEL_SOUND_UNI
  ):
    return "a"
  return "an" if word[0] in "aeiou" else "a"


def pluralize(noun: str) -> str:
  """Returns the regular plural; "slice of pizza" changes its head."""
  head, of, rest = noun.partition(" of ")
  if head.endswith(("s", "x", "ch", "sh")):
    head += "es"
  elif head.endswith("y") and head[-2] not in "aeiou":
    head = head[:-1] + "ies"
  else:
    head += "s"
  return head + of + rest


def count_en(names: tuple[str, str], count: int) -> str:
  """Returns "an owl" or "two owls"."""
  singular, plural = names
  if count == 1:
    return f"{article(singular)} {singular}"
  return f"{_NUMBERS_EN[count]} {plural}"


def count_zh(name: str, measure: str, count: int) -> str:
  """Returns 一只猫头鹰 or 两只猫头鹰."""
  return f"{_NUMBERS_ZH[count]}{measure}{name}"
