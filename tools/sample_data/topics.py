"""What the sample scenes are ranked by: two folders beside the rest.

recommendation/   topics, items, relevance, clicks, captions to fine-tune on
chinese_clip/     Chinese queries and pools in the files of Chinese-CLIP

A topic is a thing, or two of them; an item is a scene of the test split. Its
relevance is the number of the topic's things that it shows. Nothing is drawn:
what a scene shows is a function of the sample's parameters.
"""

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from interbert_jax.contract import json_file
from interbert_jax.contract.files import whole, write_text
from tools.sample_data.captions import read_captions
from tools.sample_data.nouns import count_en, count_zh
from tools.sample_data.scenes import SPLITS, scene_counts, scene_id

RECOMMENDATION, CHINESE_CLIP = "recommendation", "chinese_clip"
LANGUAGES = ("en", "zh")
ITEMS_SPLIT = "test"
_QUERY_SPLITS = {"val": "valid", "test": "test"}
_NUM_PAIRS = 20
_NUM_EXAMPLES = 2
_MIN_RELEVANT = 2
_SEED = 0x70_71_C5  # beside the sample's seed: no scene draws from this
_VISITS = 30  # of each topic
_STRAY = 20  # irrelevant items that visitors may see
# Clicks per view of an item that shows none, one, two of the things.
_CLICK_RATE = (0.03, 0.5, 0.8)


@dataclasses.dataclass(frozen=True)
class Things:
  """The classes as classes.json has them; says what `scene_counts` asks for."""

  nouns: Sequence[Mapping]

  def base_class(self, class_index: int) -> int:
    # Shapes: sizes of one shape and colour share a region class.
    return self.nouns[class_index].get("region_class", class_index)

  def phrase(self, class_index: int, language: str) -> str:
    noun = self.nouns[class_index]
    if language == "en":
      return count_en((noun["en"][0], ""), 1)
    return count_zh(noun["zh"][0], noun["measure_word"], 1)


def contents(
  things: Things, scenes: Mapping[str, int], seed: int
) -> dict[str, dict[str, set[int]]]:
  """Split -> scene -> the classes that it shows."""
  return {
    split: {
      scene_id(split, index): set(counts)
      for index, counts in enumerate(
        scene_counts(things, split, scenes[split], seed=seed)
      )
    }
    for split in SPLITS
  }


def choose_topics(
  shown: Mapping[str, Mapping[str, set[int]]], seed: int
) -> dict[str, tuple[int, ...]]:
  """Topic id -> its classes: all that come often enough, and some pairs."""
  items = shown[ITEMS_SPLIT].values()
  often = collections.Counter(itertools.chain.from_iterable(items))
  kept = {thing for thing, count in often.items() if count >= _MIN_RELEVANT}
  pairs = sorted(
    {
      pair
      for classes in items
      for pair in itertools.combinations(sorted(classes & kept), 2)
    }
  )
  order = np.random.default_rng([_SEED, seed]).permutation(len(pairs))
  chosen = [(thing,) for thing in sorted(kept)]
  chosen += [pairs[i] for i in sorted(order[:_NUM_PAIRS])]
  return {f"t{number:03d}": things for number, things in enumerate(chosen)}


def relevance(
  topics: Mapping[str, tuple[int, ...]], items: Mapping[str, set[int]]
) -> dict[str, dict[str, int]]:
  """Topic -> item -> how many of the topic's things it shows, from 1 on."""
  return {
    topic: {
      item: count
      for item, classes in items.items()
      if (count := len(classes & set(things)))
    }
    for topic, things in topics.items()
  }


def topic_lines(
  things: Things,
  topics: Mapping[str, tuple[int, ...]],
  shown: Mapping[str, Mapping[str, set[int]]],
  language: str,
) -> list[dict]:
  """Lines of a file of topics; examples are the first training scenes."""
  join = {"en": " and ", "zh": "和"}[language]
  lines = []
  for topic, classes in topics.items():
    text = join.join(things.phrase(thing, language) for thing in classes)
    examples = [
      scene for scene, seen in shown["train"].items() if {*classes} <= seen
    ][:_NUM_EXAMPLES]
    lines.append({"topic_id": topic, "text": text, "examples": examples})
  return lines


def item_lines(
  things: Things, items: Mapping[str, set[int]], seed: int, language: str
) -> list[dict]:
  """Lines of a file of items; a title names one of the things only."""
  lines = []
  for number, (item, classes) in enumerate(items.items()):
    rng = np.random.default_rng([_SEED, seed, number])
    thing = sorted(classes)[int(rng.integers(len(classes)))]
    title = things.phrase(thing, language)
    lines.append({"item_id": item, "title": title})
  return lines


def clicks(
  right: Mapping[str, Mapping[str, int]], items: Sequence[str], seed: int
) -> list[tuple[str, str, int]]:
  """(topic, item, 1 if clicked) of each view, as a shop would log them."""
  views = []
  for number, (topic, relevant) in enumerate(right.items()):
    rng = np.random.default_rng([_SEED, seed, number, 1])
    others = [item for item in items if item not in relevant]
    rng.shuffle(others)
    offered = sorted(relevant) + others[:_STRAY]
    for _ in range(_VISITS):
      item = offered[int(rng.integers(len(offered)))]
      rate = _CLICK_RATE[min(relevant.get(item, 0), 2)]
      views.append((topic, item, int(rng.random() < rate)))
  return views


def pair_lines(
  things: Things, shown: Mapping[str, Mapping[str, set[int]]], language: str
) -> list[dict]:
  """Captions to fine-tune on: each scene with the phrases of its things."""
  return [
    {
      "image_id": scene,
      "split": split,
      "captions": [things.phrase(thing, language) for thing in sorted(classes)],
    }
    for split, scenes in shown.items()
    for scene, classes in scenes.items()
  ]


def query_lines(
  things: Things, scenes: Mapping[str, set[int]], captions: Mapping[str, str]
) -> list[dict]:
  """Queries as Chinese-CLIP has them: captions, then things in many scenes."""
  queries = [(captions[scene], [scene]) for scene in scenes]
  for thing in sorted(set().union(*scenes.values())):
    right = [scene for scene, classes in scenes.items() if thing in classes]
    queries.append((things.phrase(thing, "zh"), right))
  return [
    {"text_id": number, "text": text, "image_ids": right}
    for number, (text, right) in enumerate(queries)
  ]


def add_ranking_files(folder: Path, mark: Mapping[str, object]) -> list[str]:
  """Writes the folders that are missing, whole; returns their names.

  Args:
    folder: of sample data, with its classes and captions.
    mark: what its sample.json says.
  """
  writers = {
    RECOMMENDATION: _write_recommendation,
    CHINESE_CLIP: _write_chinese_clip,
  }
  missing = [name for name in writers if not (folder / name).exists()]
  if not missing:
    return []
  things = Things(json_file.read_json(folder / "classes.json", kind=list))
  shown = contents(things, mark["scenes"], mark["seed"])
  for name in missing:
    with whole(folder / name) as building:
      building.mkdir()
      writers[name](building, folder, things, shown, mark["seed"])
  return missing


def _table(folder: Path, name: str, rows: Iterable[tuple]) -> None:
  rows = (("topic_id", "item_id", name), *rows)
  lines = ("\t".join(map(str, row)) + "\n" for row in rows)
  write_text(folder / f"{name}.tsv", "".join(lines))


def _write_recommendation(into: Path, folder: Path, things, shown, seed):
  del folder
  items = shown[ITEMS_SPLIT]
  topics = choose_topics(shown, seed)
  right = relevance(topics, items)
  for language in LANGUAGES:
    for name, lines in (
      ("topics", topic_lines(things, topics, shown, language)),
      ("items", item_lines(things, items, seed, language)),
      ("pairs", pair_lines(things, shown, language)),
    ):
      json_file.write_lines(into / f"{name}_{language}.jsonl", lines)
  grades = (
    (topic, item, grade)
    for topic, relevant in right.items()
    for item, grade in relevant.items()
  )
  _table(into, "relevance", grades)
  _table(into, "clicks", clicks(right, list(items), seed))


def _write_chinese_clip(into: Path, folder: Path, things, shown, seed):
  del seed
  rows = read_captions(folder, "zh")
  first = {row["image_id"]: row["captions"][0] for row in rows}
  for split, name in _QUERY_SPLITS.items():
    scenes = shown[split]
    queries = query_lines(things, scenes, first)
    json_file.write_lines(into / f"{name}_texts.jsonl", queries)
    ids = "".join(f"{scene}\n" for scene in scenes)
    write_text(into / f"{name}_ids.txt", ids)
