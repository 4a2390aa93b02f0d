"""A format for the tests of conversion: each line is the recipe of an image.

Module level, so that worker processes find it.
"""

import json
import pathlib
import time

import numpy as np

from input_pipeline.conversion.run import convert
from input_pipeline.conversion.settings import ConversionSettings
from input_pipeline.formats.base import Part, RegionFormat
from input_pipeline.store.region_store import RegionStore
from interbert_jax.contract.errors import DataError
from tests.support.corpus import make_image

PER_PART = 4


def _split(path: pathlib.Path) -> list[Part]:
  count = len(path.read_text().splitlines())
  return [
    Part(str(path), start, min(start + PER_PART, count))
    for start in range(0, count, PER_PART)
  ]


def _read(part: Part):
  lines = pathlib.Path(part.path).read_text().splitlines()
  for number in range(part.start, part.stop):
    recipe = json.loads(lines[number])
    place = f"{part.path}:{number + 1}"
    if recipe.get("bad"):
      yield DataError("not readable", file=place)
      continue
    if recipe.get("kill") and pathlib.Path(recipe["kill"]).exists():
      raise KeyboardInterrupt
    if "sleep" in recipe:
      time.sleep(recipe["sleep"])
    image = make_image(recipe["id"], seed=recipe.get("seed", number))
    image.place = place
    for field, value in recipe.get("set", {}).items():
      if isinstance(value, list):
        value = np.array(value, np.float32)
      setattr(image, field, value)
    yield image


def _detect(path: pathlib.Path) -> str | None:
  return "it ends in .seeds" if path.suffix == ".seeds" else None


FORMAT = RegionFormat(
  name="seeds",
  expects="a line of JSON per image",
  detect=_detect,
  split=_split,
  read=_read,
  extractor="random numbers",
)


def write_seeds(path: pathlib.Path, recipes) -> pathlib.Path:
  recipes = [r if isinstance(r, dict) else {"id": r} for r in recipes]
  path.write_text("".join(json.dumps(r) + "\n" for r in recipes))
  return path


def converted(source, tmp_path, name="store", **options):
  """(manifest, store) of a source; settings, and other keywords of convert."""
  keywords = {
    key: options.pop(key)
    for key in ("workers", "sizes", "restart", "runner", "extractor")
    if key in options
  }
  manifest = convert(
    source,
    FORMAT,
    tmp_path / name,
    settings=ConversionSettings(**options),
    **keywords,
  )
  return manifest, RegionStore(tmp_path / name)


def made(tmp_path, recipes, **options):
  """(manifest, store) of these recipes; they lie in a.seeds."""
  return converted(
    write_seeds(tmp_path / "a.seeds", recipes), tmp_path, **options
  )
