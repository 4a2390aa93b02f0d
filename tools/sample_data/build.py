"""Builds a folder of sample data: whole, or not at all."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from input_pipeline.checks.drawing import draw_regions
from interbert_jax.contract import json_file
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import whole
from interbert_jax.contract.progress import Progress
from tools.sample_data.captions import write_captions
from tools.sample_data.questions import add_questions, has_questions
from tools.sample_data.scenes import SPLITS, Scene, make_scenes, scene_rng
from tools.sample_data.sentences import FOLDER, add_sentences
from tools.sample_data.sources import Source, make_records
from tools.sample_data.topics import add_ranking_files

VERSION = 1  # raise it when the same seed gives other data
MARK = "sample.json"
EXAMPLE = "example.png"

_PURPOSES = {"en": 1, "zh": 2}  # of scene_rng


def is_built(output: Path, wanted: Mapping[str, object]) -> bool:
  """Returns whether `output` holds what is wanted.

  Raises:
    DataError: it holds other sample data, or something else.
  """
  if not output.exists() or (output.is_dir() and not any(output.iterdir())):
    return False
  mark = read_mark(output)
  if mark is None:
    raise DataError(
      f"{output} is there and is no sample data (it has no {MARK}); choose"
      " another --output"
    )
  different = [
    f"{key} is {mark.get(key)!r}, wanted {wanted.get(key)!r}"
    for key in sorted({*mark, *wanted})
    if mark.get(key) != wanted.get(key)
  ]
  if different:
    raise DataError(
      f"{output} holds other sample data: {'; '.join(different)}; build it anew"
      " with --overwrite, or choose another --output"
    )
  return True


def read_mark(output: Path) -> dict | None:
  """Returns the parameters of a finished folder, None where there is none."""
  try:
    mark = json_file.read_object(output / MARK)
  except DataError:
    return None
  return mark if "generator_version" in mark else None


def build_sample(
  output: Path, source: Source, *, mark: Mapping[str, object]
) -> None:
  """Writes the folder; one that is there must be sample data, and goes.

  Args:
    output: the folder.
    source: what draws and encodes.
    mark: what sample.json says; `scenes` (split -> number) and `seed` are used.
  """
  output = output.absolute()
  old = output.with_name(f".{output.name}.old")
  shutil.rmtree(old, ignore_errors=True)
  with whole(output) as building:
    building.mkdir()
    _write(building, source, mark)
    add_missing(building, mark, lambda: source)
    json_file.write_json(building / MARK, mark, indent=1)
    if output.exists():
      os.rename(output, old)
  shutil.rmtree(old, ignore_errors=True)


def add_missing(
  folder: Path,
  mark: Mapping[str, object],
  load_source: Callable[[], Source],
) -> list[str]:
  """Writes the tasks' own files that are not there yet; returns their names.

  A folder of an earlier version gets them too, and nothing else in it changes.

  Args:
    folder: of sample data, with images, region store and captions.
    mark: what its sample.json says.
    load_source: what drew it; only called where questions are missing.
  """
  added = list(add_ranking_files(folder, mark))
  if add_sentences(folder, mark):
    added.append(FOLDER)
  if not has_questions(folder):
    add_questions(folder, load_source(), mark=mark)
    added.append("questions")
  return added


def _write(folder: Path, source: Source, mark: Mapping[str, object]) -> None:
  # Imports TensorFlow, which takes seconds.
  from input_pipeline.store.store_writer import write_store

  source.copy_vocabs(folder)
  json_file.write_json(folder / "classes.json", source.classes, indent=1)
  (folder / "ATTRIBUTION.txt").write_text(source.notice, encoding="utf-8")
  (folder / "images").mkdir()
  captions: dict[str, list] = {language: [] for language in _PURPOSES}
  scenes = _draw_scenes(source, mark)
  write_store(
    folder / "regions",
    make_records(
      _save_scenes(scenes, folder / "images", captions, source, mark["seed"]),
      source.encode,
    ),
    feature_dim=2048,
    num_classes=source.num_classes,
    background_class=source.background_class,
    source=f"tools.sample_data {mark['mode']}, seed {mark['seed']}",
    extractor=source.extractor,
  )
  for language, rows in captions.items():
    json_file.write_lines(folder / f"captions_{language}.jsonl", rows)


def _draw_scenes(
  source: Source, mark: Mapping[str, object]
) -> Iterator[tuple[int, Scene]]:
  """Yields (index in the split, scene), showing how far it is."""
  numbers = mark["scenes"]
  with Progress(
    total=sum(numbers.values()), unit="scene", what="scenes"
  ) as progress:
    for split in SPLITS:
      scenes = make_scenes(
        source.artist, split, numbers[split], seed=mark["seed"]
      )
      for index, scene in enumerate(scenes):
        yield index, scene
        progress.advance(1)


def _save_scenes(
  scenes: Iterator[tuple[int, Scene]],
  images: Path,
  captions: Mapping[str, list],
  source: Source,
  seed: int,
) -> Iterator[Scene]:
  """Passes scenes on, saves the picture of each and adds its captions."""
  shown = False
  for index, scene in scenes:
    # Little compression: the disk is not what is short here.
    scene.image.save(images / f"{scene.scene_id}.png", compress_level=1)
    for language, purpose in _PURPOSES.items():
      rng = scene_rng(seed, scene.split, index, purpose)
      texts = write_captions(language, scene.facts, source.artist.nouns, rng)
      entry = {"image_id": scene.scene_id, "split": scene.split}
      captions[language].append({**entry, "captions": texts})
    if len(scene.objects) > 2 and not shown:
      text = captions["en"][-1]["captions"][0]
      names = [thing.class_index for thing in scene.objects]
      names = [source.artist.nouns[index].en[0][0] for index in names]
      # What the data is: objects have names, other regions are grey.
      example = draw_regions(
        scene.image, scene.boxes, labels=names, caption=text
      )
      example.save(images.parent / EXAMPLE)
      shown = True
    yield scene
