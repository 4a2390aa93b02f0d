"""Nouns of the sample data: articles, plurals, and the table of objects."""

import pytest

from tools.sample_data.nouns import article, count_en, pluralize
from tools.sample_data.objects import OBJECTS, check_names, choose_objects

A = (
  "hot dog, unicorn, uniform, UFO, ukulele, used car, euro, one-way "
  "street, xylophone, ewe, ewer, T-shirt, house, union"
)
AN = (
  "owl, hour, honest answer, uninteresting book, umbrella, onion, "
  "x-ray, ear of corn, ice cream cone, orange circle, heir, urn"
)


@pytest.mark.parametrize(
  ("phrase", "wanted"),
  [
    (phrase, article)
    for article, phrases in (("a", A), ("an", AN))
    for phrase in phrases.split(", ")
  ],
)
def test_article_goes_by_sound(phrase, wanted):
  assert article(phrase) == wanted


def test_articles_of_all_objects():
  for entry in OBJECTS:
    for name, _ in entry.noun.en:
      vowel = name[0].lower() in "aeiou" and name != "UFO"
      assert article(name) == ("an" if vowel else "a"), name


@pytest.mark.parametrize(
  ("noun", "wanted"),
  [
    ("tiger", "tigers"),
    ("bus", "buses"),
    ("box of fries", "boxes of fries"),
    ("peach", "peaches"),
    ("butterfly", "butterflies"),
    ("key", "keys"),
    ("slice of pizza", "slices of pizza"),
  ],
)
def test_pluralize(noun, wanted):
  assert pluralize(noun) == wanted


def test_irregular_plurals_of_the_table():
  plurals = dict(names for entry in OBJECTS for names in entry.noun.en)
  assert plurals["mouse"] == "mice"
  assert plurals["sheep"] == "sheep"
  assert plurals["kitchen knife"] == "kitchen knives"
  assert plurals["loaf of bread"] == "loaves of bread"
  assert plurals["scarf"] == "scarves"
  assert plurals["tomato"] == "tomatoes"
  assert count_en(("mouse", "mice"), 3) == "three mice"


def test_no_two_objects_share_a_name():
  for column in (
    [name for o in OBJECTS for name, _ in o.noun.en],
    [name for o in OBJECTS for name in o.noun.zh],
    [o.code_point for o in OBJECTS],
  ):
    assert len(set(column)) == len(column)


def test_choose_objects():
  assert choose_objects(len(OBJECTS)) == OBJECTS
  chosen = choose_objects(50)
  assert len(set(chosen)) == 50
  kinds = [OBJECTS.index(entry) // 40 for entry in chosen]
  assert set(kinds) == set(range(len(OBJECTS) // 40 + 1))
  for count in (7, len(OBJECTS) + 1):
    with pytest.raises(ValueError, match=f"{count} object classes"):
      choose_objects(count)


def test_check_names_names_a_wrong_code_point():
  tiger = next(o for o in OBJECTS if o.code_point == 0x1F405)
  check_names((tiger,), {"🐅": ":tiger:"}, {"🐅": ":老虎:"})
  for english, chinese in ((":leopard:", ":老虎:"), (":tiger:", ":豹子:")):
    with pytest.raises(ValueError, match="1F405"):
      check_names((tiger,), {"🐅": english}, {"🐅": chinese})


def test_table_rows_are_complete():
  assert len(OBJECTS) >= 150
  for entry in OBJECTS:
    assert all(all(names) for names in entry.noun.en)
    assert all(entry.noun.zh) and len(entry.noun.measure) == 1
  assert OBJECTS[0].character == "🐕"
