"""Makes or verifies a local, memory-mapped copy of a region store.

python -m input_pipeline.stage --store=data/regions --output=/dev/shm/regions

Training reads it with --config.input.store=/dev/shm/regions; with
--config.input.stage_dir training makes one itself, of what it needs.
"""

import dataclasses
import pathlib
import sys

from interbert_jax.contract.command import run_command
from interbert_jax.contract.flags import parse_flags
from interbert_jax.contract.settings import Settings, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command(Settings):
  store: pathlib.Path = setting(dataclasses.MISSING, "region store to copy")
  output: pathlib.Path = setting(dataclasses.MISSING, "directory of the copy")
  max_regions: int = setting(
    36, "slots of an image; the first regions are kept", low=1
  )
  no_class_probs: bool = setting(
    False, "leave class probabilities out, nearly half of the bytes"
  )


def main(arguments: list[str] | None = None) -> int:
  """Runs the command; returns its exit status."""
  (command,) = parse_flags(
    arguments,
    Command,
    prog="python -m input_pipeline.stage",
    description="Copies a region store into fixed-stride, memory-mapped files, "
    "or opens the copy that is there and compares its checksums.",
  )
  return run_command(lambda: _stage(command))


def _stage(command: Command):
  from input_pipeline.store.region_store import RegionStore
  from input_pipeline.store.staged_store import STAGED
  from input_pipeline.store.staged_writer import stage
  from interbert_jax.contract.progress import Progress

  store = RegionStore(command.store)
  was_there = (command.output / STAGED).exists()
  with Progress(total=len(store), unit="images", what="stage") as progress:
    staged = stage(
      store,
      command.output,
      max_regions=command.max_regions,
      class_probs=not command.no_class_probs,
      progress=progress,
    )
  if was_there:
    staged.verify()
  size = sum(p.stat().st_size for p in command.output.iterdir())
  print(
    f"{command.output}: {len(staged)} images, {size / 1e6:,.1f} MB, "
    + ("checksums compared" if was_there else "copied")
  )


if __name__ == "__main__":
  sys.exit(main())
