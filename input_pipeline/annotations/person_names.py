"""Neutral names for the people in an image, which depend on seed and image."""

import codecs
import csv
import hashlib
import pathlib
from collections.abc import Sequence

import numpy as np

from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import decode

PERSON = "person"
# One word each; women and men have these names.
NAMES = tuple(
  """
  Adrian Alex Ali Amari Andrea Andy Angel Ariel Ash Aubrey Avery Bailey Billie
  Blair Blake Bobby Cameron Carey Carroll Casey Cary Charlie Chris Corey
  Dakota Dale Dana Darcy Devon Drew Eden Eli Elliot Emerson Emery Ezra Finley
  Francis Frankie Gale Gene Glenn Gray Guadalupe Hadley Harley Harper Hayden
  Hunter Jackie Jaime Jamie Jan Jean Jesse Jessie Jo Jordan Jules Kai Kelly
  Kelsey Kendall Kerry Kim Kit Kris Lane Lee Leigh Leslie Lindsay Logan Lou
  Marion Marley Mason Max Micah Morgan Nicky Noel Pat Paris Parker Payton
  Peyton Phoenix Quinn Ray Reagan Reese Remy Riley Robbie Robin Rory Rowan
  Ryan Sage Sam Sandy Sasha Sawyer Shannon Shawn Shelby Sidney Skyler Spencer
  Stevie Sydney Taylor Terry Toby Toni Tracy Tyler Val Willie
  """.split()
)


def read_names(path: str | pathlib.Path) -> tuple[str, ...]:
  """Reads names from a table with a column "name", or from lines."""
  path = pathlib.Path(path)
  if not path.is_file():
    raise DataError("no such file of names", file=path)
  raw = path.read_bytes().removeprefix(codecs.BOM_UTF8)
  text = decode(raw, file=path)
  try:
    rows = list(csv.reader(text.splitlines()))
  except csv.Error as e:
    raise DataError(f"no table of names: {e}", file=path) from None
  rows = [row for row in rows if any(cell.strip() for cell in row)]
  header = [cell.strip().lower() for cell in rows[0]] if rows else []
  column = header.index("name") if "name" in header else 0
  if "name" in header:
    rows = rows[1:]
  elif any(len(row) != 1 for row in rows):
    raise DataError(
      f"found columns {', '.join(header)}, wanted a column name, or one name a "
      "line",
      file=path,
    )
  names = [row[column].strip() for row in rows if len(row) > column]
  names = list(dict.fromkeys(name for name in names if name))
  if not names:
    raise DataError("found no names", file=path)
  return tuple(names)


def object_names(
  objects: Sequence[str],
  *,
  image_id: str,
  seed: int,
  names: Sequence[str] = NAMES,
) -> list[str]:
  """The word for each object of an image in its texts.

  People get names, all different as long as there are enough of them; other
  objects are called by their class.
  """
  people = sum(name == PERSON for name in objects)
  if not people:
    return list(objects)
  digest = hashlib.sha256(f"{seed} {image_id}".encode()).digest()
  rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
  rounds = -(-people // len(names))
  order = [i for _ in range(rounds) for i in rng.permutation(len(names))]
  chosen = iter(order)
  return [names[next(chosen)] if name == PERSON else name for name in objects]
