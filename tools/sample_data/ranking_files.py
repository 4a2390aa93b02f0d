"""Writes what the sample scenes are ranked by: two folders beside the rest.

recommendation/   topics, items, relevance, clicks, captions to fine-tune on
chinese_clip/     Chinese queries and pools in the files of Chinese-CLIP
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tools.sample_data import topics as topics_lib
from tools.sample_data.topics import ITEMS_SPLIT, LANGUAGES, Things

RECOMMENDATION, CHINESE_CLIP = "recommendation", "chinese_clip"
_QUERY_SPLITS = {"val": "valid", "test": "test"}


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
  classes = json.loads((folder / "classes.json").read_text(encoding="utf-8"))
  things = Things(classes)
  shown = topics_lib.contents(things, mark["scenes"], mark["seed"])
  for name in missing:
    _write_whole(
      folder / name,
      lambda into, write=writers[name]: write(
        into, folder, things, shown, mark["seed"]
      ),
    )
  return missing


def _write_whole(output: Path, write: Callable[[Path], None]) -> None:
  building = Path(
    tempfile.mkdtemp(prefix=f".{output.name}.unfinished-", dir=output.parent)
  )
  try:
    building.chmod(0o755)  # mkdtemp gives 0o700
    write(building)
    os.rename(building, output)
  finally:
    shutil.rmtree(building, ignore_errors=True)


def _lines(path: Path, lines: Iterable[object]) -> None:
  text = "".join(json.dumps(x, ensure_ascii=False) + "\n" for x in lines)
  path.write_text(text, encoding="utf-8")


def _table(path: Path, header: tuple, rows: Iterable[tuple]) -> None:
  lines = ("\t".join(map(str, row)) + "\n" for row in (header, *rows))
  path.write_text("".join(lines), encoding="utf-8")


def _write_recommendation(into: Path, folder: Path, things, shown, seed):
  del folder
  items = shown[ITEMS_SPLIT]
  topics = topics_lib.choose_topics(shown, seed)
  right = topics_lib.relevance(topics, items)
  for language in LANGUAGES:
    _lines(
      into / f"topics_{language}.jsonl",
      topics_lib.topic_lines(things, topics, shown, language),
    )
    _lines(
      into / f"items_{language}.jsonl",
      topics_lib.item_lines(things, items, seed, language),
    )
    _lines(
      into / f"pairs_{language}.jsonl",
      topics_lib.pair_lines(things, shown, language),
    )
  _table(
    into / "relevance.tsv",
    ("topic_id", "item_id", "relevance"),
    (
      (topic, item, grade)
      for topic, found in right.items()
      for item, grade in found.items()
    ),
  )
  _table(
    into / "clicks.tsv",
    ("topic_id", "item_id", "clicks"),
    topics_lib.clicks(right, list(items), seed),
  )


def _write_chinese_clip(into: Path, folder: Path, things, shown, seed):
  del seed
  first: dict[str, str] = {}
  with open(folder / "captions_zh.jsonl", encoding="utf-8") as file:
    for line in file:
      entry = json.loads(line)
      first[entry["image_id"]] = entry["captions"][0]
  for split, name in _QUERY_SPLITS.items():
    scenes = shown[split]
    _lines(
      into / f"{name}_texts.jsonl",
      topics_lib.query_lines(things, scenes, first),
    )
    (into / f"{name}_ids.txt").write_text(
      "".join(f"{scene}\n" for scene in scenes), encoding="utf-8"
    )
