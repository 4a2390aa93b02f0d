"""Sentence tasks made of the captions, in the file layouts of GLUE and CLUE.

  text/pairs_en    MRPC:   do two captions describe the same scene?
  text/kinds_en    SST-2:  are there more than two kinds of things?
  text/overlap_en  STS-B:  5 times the share of kinds that two scenes have in
                   common
  text/pairs_zh    AFQMC:  as pairs_en, in Chinese

All of it is a function of the captions that are there already and the seed, so
that an older folder of sample data gets the same files.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from interbert_jax.contract import json_file
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import whole, write_text
from tools.sample_data.captions import read_captions
from tools.sample_data.nouns import Noun
from tools.sample_data.scenes import SPLITS, scene_rng

FOLDER = "text"
_PURPOSE = 11  # of scene_rng: draws of its own
_FILES = {"train": "train", "val": "dev", "test": "test"}
_STSB = (
  *("genre", "filename", "year", "old_index", "source1", "source2"),
  *("sentence1", "sentence2"),
)


class Scene(NamedTuple):
  """The captions of a scene by language, and the classes of its things."""

  split: str
  index: int
  captions: Mapping[str, list[str]]
  kinds: frozenset[int]


class Pair(NamedTuple):
  """Two scenes and the caption that each is described by."""

  first: tuple[Scene, int]
  second: tuple[Scene, int]

  @property
  def is_same(self) -> bool:
    return self.first[0].index == self.second[0].index

  def texts(self, language: str) -> list[str]:
    return [
      scene.captions[language][number]
      for scene, number in (self.first, self.second)
    ]


def add_sentences(output: Path, mark: Mapping[str, Any]) -> bool:
  """Writes the tasks into a finished folder; False where they are there.

  Args:
    output: the folder of sample data.
    mark: of the folder: mode, seed and classes are used.
  """
  if (output / FOLDER).exists():
    return False
  with whole(output / FOLDER) as building:
    building.mkdir()
    _write_tasks(output, building, mark)
  return True


def _write_tasks(source: Path, output: Path, mark: Mapping[str, Any]) -> None:
  """Makes the tasks of the captions in `source`."""
  scenes = read_scenes(source, _nouns(mark))
  for split in SPLITS:
    here = [scene for scene in scenes if scene.split == split]
    pairs = draw_pairs(here, seed=mark["seed"])
    _write_pairs_en(output / "pairs_en", split, pairs)
    _write_pairs_zh(output / "pairs_zh", split, pairs)
    _write_kinds(output / "kinds_en", split, here)
    _write_overlap(output / "overlap_en", split, pairs)


def _nouns(mark: Mapping[str, Any]) -> Sequence[Noun]:
  if mark["mode"] == "shapes":
    from tools.sample_data.shapes import ShapesArtist

    return ShapesArtist().nouns
  from tools.sample_data.objects import choose_objects

  return [thing.noun for thing in choose_objects(mark["classes"])]


def read_scenes(folder: Path, nouns: Sequence[Noun]) -> list[Scene]:
  """The scenes of a folder, in order, with what their captions say."""
  rows = [read_captions(folder, language) for language in ("en", "zh")]
  finder = KindFinder(nouns)
  scenes, counts = [], dict.fromkeys(SPLITS, 0)
  for en, zh in zip(*rows, strict=True):
    split = en["split"]
    kinds = {finder.find(caption) for caption in en["captions"]}
    if len(kinds) != 1 or en["image_id"] != zh["image_id"]:
      raise DataError(f"{folder}: captions of {en['image_id']} differ")
    captions = {"en": en["captions"], "zh": zh["captions"]}
    scenes.append(Scene(split, counts[split], captions, kinds.pop()))
    counts[split] += 1
  return scenes


class KindFinder:
  """Finds the things that an English caption names; the longest name wins."""

  def __init__(self, nouns: Sequence[Noun]):
    self._classes = {
      tuple(name.split()): index
      for index, noun in enumerate(nouns)
      for names in noun.en
      for name in names
    }
    self._longest = max(map(len, self._classes))

  def find(self, caption: str) -> frozenset[int]:
    """The classes of the things."""
    words = caption.replace(",", " ").split()
    kinds, at = set(), 0
    while at < len(words):
      for length in range(self._longest, 0, -1):
        name = tuple(words[at : at + length])
        if name in self._classes:
          kinds.add(self._classes[name])
          at += len(name)
          break
      else:
        at += 1
    return frozenset(kinds)


def _common(first: Scene, second: Scene) -> float:
  """Kinds in both, as a share of the kinds in either."""
  return len(first.kinds & second.kinds) / len(first.kinds | second.kinds)


def draw_pairs(scenes: Sequence[Scene], *, seed: int) -> list[Pair]:
  """Two pairs of captions of each scene itself, and two with other scenes.

  One of the others is as much like it as any, the other is any.
  """
  pairs = []
  for scene in scenes:
    rng = scene_rng(seed, scene.split, scene.index, _PURPOSE)
    order = rng.permutation(len(scene.captions["en"]))
    pairs += [
      Pair((scene, int(order[k])), (scene, int(order[k + 1]))) for k in (0, 2)
    ]
    others = [other for other in scenes if other.index != scene.index]
    if not others:
      continue
    common = np.array([_common(scene, other) for other in others])
    near = np.flatnonzero(common == common.max())
    for place in (rng.choice(near), rng.integers(len(others))):
      own, other = rng.integers(len(order), size=2)
      pairs.append(Pair((scene, int(own)), (others[int(place)], int(other))))
  return pairs


def _write_tsv(
  folder: Path, split: str, header: Sequence[str], rows: Iterable[Sequence]
) -> None:
  lines = ("\t".join(map(str, row)) + "\n" for row in (header, *rows))
  write_text(folder / f"{_FILES[split]}.tsv", "".join(lines))


def _write_pairs_en(folder: Path, split: str, pairs: Sequence[Pair]) -> None:
  columns = ("#1 ID", "#2 ID", "#1 String", "#2 String")
  rows = [
    (
      index if split == "test" else int(pair.is_same),
      *(5 * scene.index + number for scene, number in pair),
      *pair.texts("en"),
    )
    for index, pair in enumerate(pairs)
  ]
  # As GLUE's, the test file has no answers.
  first = "index" if split == "test" else "Quality"
  _write_tsv(folder, split, (first, *columns), rows)


def _write_pairs_zh(folder: Path, split: str, pairs: Sequence[Pair]) -> None:
  rows = []
  for index, pair in enumerate(pairs):
    first, second = pair.texts("zh")
    row = {"sentence1": first, "sentence2": second}
    if split == "test":
      rows.append({"id": index, **row})
    else:
      rows.append({**row, "label": str(int(pair.is_same))})
  json_file.write_lines(folder / f"{_FILES[split]}.json", rows)


def _write_kinds(folder: Path, split: str, scenes: Sequence[Scene]) -> None:
  rows = [
    (caption, int(len(scene.kinds) > 2))
    for scene in scenes
    for caption in scene.captions["en"]
  ]
  if split == "test":
    rows = [(index, caption) for index, (caption, _) in enumerate(rows)]
    _write_tsv(folder, split, ("index", "sentence"), rows)
  else:
    _write_tsv(folder, split, ("sentence", "label"), rows)


def _write_overlap(folder: Path, split: str, pairs: Sequence[Pair]) -> None:
  rows = []
  for index, pair in enumerate(pairs):
    score = 5 * _common(pair.first[0], pair.second[0])
    unused = ("captions", "none", "none", index, "none", "none")
    row = (index, *unused, *pair.texts("en"))
    rows.append(row if split == "test" else (*row, f"{score:.3f}"))
  header = ("index", *_STSB, *(() if split == "test" else ("score",)))
  _write_tsv(folder, split, header, rows)
