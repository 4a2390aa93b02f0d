"""The images of a catalogue that fit a text, on the command line."""

import argparse
import dataclasses
import json
import sys

from interbert_jax.contract.command import run_command
from interbert_jax.contract.flags import add_flags, read_flags
from interbert_jax.contract.settings import Settings, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchSettings(Settings):
  """Which model is asked about which images."""

  model: str = setting(
    dataclasses.MISSING, "A run's workdir, a step of one, or an export."
  )
  catalogue: str = setting("", "A region store; the run's own by default.")
  items: str = setting("", "A file of items; all images by default.")
  top: int = setting(5, "How many images.", low=1)
  index: str = setting(
    "", "Index of the catalogue (interbert index): score only a shortlist."
  )
  shortlist: int = setting(100, "Images of the shortlist.", low=1)


def _search(text: str, settings: SearchSettings) -> None:
  from interbert_jax.app.command_line import keep_compiled
  from interbert_jax.app.use.index import VectorIndex
  from interbert_jax.app.use.model import load

  keep_compiled()
  model = load(settings.model)
  catalogue = model.catalogue(settings.catalogue, settings.items)
  index = VectorIndex(settings.index) if settings.index else None
  for found in model.search(
    text,
    catalogue,
    top=settings.top,
    index=index,
    shortlist=settings.shortlist,
  ):
    print(json.dumps(found._asdict(), ensure_ascii=False))


def main() -> int:
  """Runs the command; returns its exit status."""
  parser = argparse.ArgumentParser(
    description="Prints the images that fit a text best, a line of JSON each."
  )
  parser.add_argument("text", help="such as 'a red bus near a dog'")
  add_flags(parser, SearchSettings)
  options = parser.parse_args()
  settings = read_flags(parser, SearchSettings, options)
  return run_command(lambda: _search(options.text, settings))


if __name__ == "__main__":
  sys.exit(main())
