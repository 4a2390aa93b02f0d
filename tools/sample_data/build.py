"""Builds a folder of sample data: whole, or not at all."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from input_pipeline.checks.drawing import draw_regions
from tools.sample_data.additions import add_missing
from tools.sample_data.captions_en import captions_en
from tools.sample_data.captions_zh import captions_zh
from tools.sample_data.regions import make_records
from tools.sample_data.scenes import SPLITS, Scene, make_scenes, scene_rng
from tools.sample_data.sources import Source

VERSION = (
  1  # of what is generated; raise it when the same seed gives other data
)
MARK = "sample.json"
EXAMPLE = "example.png"

_CAPTIONERS = {"en": (captions_en, 1), "zh": (captions_zh, 2)}


def is_built(output: Path, wanted: Mapping[str, object]) -> bool:
  """Returns whether `output` holds what is wanted.

  Raises:
    ValueError: it holds other sample data, or something else.
  """
  if not output.exists() or (output.is_dir() and not any(output.iterdir())):
    return False
  found = read_mark(output)
  if found is None:
    raise ValueError(
      f"{output} is there and is no sample data (it has no {MARK}); choose"
      " another --output"
    )
  different = [
    f"{key} is {found.get(key)!r}, wanted {wanted.get(key)!r}"
    for key in sorted({*found, *wanted})
    if found.get(key) != wanted.get(key)
  ]
  if different:
    raise ValueError(
      f"{output} holds other sample data: {'; '.join(different)}; build it anew"
      " with --overwrite, or choose another --output"
    )
  return True


def read_mark(output: Path) -> dict | None:
  """Returns the parameters of a finished folder, None where there is none."""
  try:
    mark = json.loads((output / MARK).read_text(encoding="utf-8"))
  except (OSError, ValueError):
    return None
  return (
    mark if isinstance(mark, dict) and "generator_version" in mark else None
  )


def build_sample(
  output: Path,
  source: Source,
  *,
  mark: Mapping[str, object],
  say: Callable[[str], None] = print,
) -> None:
  """Writes the folder; one that is there must be sample data, and goes.

  Args:
    output: the folder.
    source: what draws and encodes.
    mark: what sample.json says; `scenes` (split -> number) and `seed` are used.
    say: prints a line.
  """
  output = output.absolute()
  output.parent.mkdir(parents=True, exist_ok=True)
  building = Path(
    tempfile.mkdtemp(prefix=f".{output.name}.unfinished-", dir=output.parent)
  )
  try:
    building.chmod(0o755)  # mkdtemp gives 0o700
    _write(building, source, mark=mark, say=say)
    add_missing(building, mark, lambda: source)
    _write_json(building / MARK, mark)
    if output.exists():
      old = Path(tempfile.mkdtemp(prefix=".old-", dir=output.parent))
      os.rename(output, old / output.name)
      os.rename(building, output)
      shutil.rmtree(old)
    else:
      os.rename(building, output)
  finally:
    shutil.rmtree(building, ignore_errors=True)


def _write_json(path: Path, value: object) -> None:
  text = json.dumps(value, ensure_ascii=False, indent=1)
  path.write_text(text + "\n", encoding="utf-8")


def _write(
  folder: Path,
  source: Source,
  *,
  mark: Mapping[str, object],
  say: Callable[[str], None],
) -> None:
  from input_pipeline.store.store_writer import (
    write_store,  # TensorFlow: seconds
  )

  source.copy_vocabs(folder)
  _write_json(folder / "classes.json", source.classes)
  (folder / "ATTRIBUTION.txt").write_text(source.notice, encoding="utf-8")
  (folder / "images").mkdir()
  files = {
    language: open(folder / f"captions_{language}.jsonl", "w", encoding="utf-8")
    for language in _CAPTIONERS
  }
  try:
    scenes = _draw_scenes(source, mark, say)
    write_store(
      folder / "regions",
      make_records(
        _save_scenes(scenes, folder / "images", files, source, mark["seed"]),
        source.encode,
      ),
      feature_dim=2048,
      num_classes=source.num_classes,
      background_class=source.background_class,
      source=f"tools.sample_data {mark['mode']}, seed {mark['seed']}",
      extractor=source.extractor,
    )
  finally:
    for file in files.values():
      file.close()


def _draw_scenes(
  source: Source, mark: Mapping[str, object], say: Callable[[str], None]
) -> Iterator[tuple[int, Scene]]:
  """Yields (index in the split, scene), showing how far it is."""
  numbers = mark["scenes"]
  total = sum(numbers.values())
  on_terminal = sys.stderr.isatty()
  if on_terminal:
    from tqdm import tqdm

    bar = tqdm(total=total, unit="scene", desc="scenes")
  done = 0
  for split in SPLITS:
    scenes = make_scenes(
      source.artist, split, numbers[split], seed=mark["seed"]
    )
    for index, scene in enumerate(scenes):
      yield index, scene
      done += 1
      if on_terminal:
        bar.update()
      elif done == total or done * 4 // total != (done - 1) * 4 // total:
        say(f"{done} of {total} scenes")
  if on_terminal:
    bar.close()


def _save_scenes(
  scenes: Iterator[tuple[int, Scene]],
  images: Path,
  files: Mapping[str, object],
  source: Source,
  seed: int,
) -> Iterator[Scene]:
  """Passes scenes on, saving picture and captions of each."""
  shown = False
  for index, scene in scenes:
    # Little compression: the disk is not what is short here.
    scene.image.save(images / f"{scene.scene_id}.png", compress_level=1)
    for language, (write_captions, purpose) in _CAPTIONERS.items():
      rng = scene_rng(seed, scene.split, index, purpose)
      entry = {
        "image_id": scene.scene_id,
        "split": scene.split,
        "captions": write_captions(scene.facts, source.artist.nouns, rng),
      }
      print(json.dumps(entry, ensure_ascii=False), file=files[language])
      if language == "en" and len(scene.objects) > 2 and not shown:
        _draw_example(images.parent / EXAMPLE, scene, source, entry["captions"])
        shown = True
    yield scene


def _draw_example(
  path: Path, scene: Scene, source: Source, captions: list[str]
) -> None:
  """A picture of what the data is: objects named, other regions grey."""
  names = [source.artist.nouns[o.class_index].en[0][0] for o in scene.objects]
  draw_regions(
    scene.image, scene.boxes, labels=names, caption=captions[0]
  ).save(path)
