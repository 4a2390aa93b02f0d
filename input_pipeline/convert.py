"""Converts region features of any known format into a region store.

python -m input_pipeline.convert --source=flickr30k.lmdb --output=data/regions
"""

import dataclasses
import pathlib
import sys

from input_pipeline.conversion.settings import ConversionSettings
from interbert_jax.contract.command import run_command
from interbert_jax.contract.flags import parse_flags
from interbert_jax.contract.pipeline import ABOUT, spelled
from interbert_jax.contract.settings import Settings, setting

# Everything else is imported when it is needed, so that --help answers at once.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command(Settings):
  """What is converted, and how the work is done."""

  source: pathlib.Path | None = setting(None, "file or directory")
  output: pathlib.Path | None = setting(None, "the store; must not exist yet")
  format: str = setting(
    "auto",
    "format of the source; found out by default (--list_formats shows all)",
  )
  list_formats: bool = setting(False, "print the formats, convert nothing")
  workers: int = setting(1, "processes", low=1)
  sizes: pathlib.Path | None = setting(
    None,
    "JSON of image sizes for sources without them: {id: [width, height]} or "
    "COCO's",
  )
  extractor: str | None = setting(None, "the detector, for the manifest")
  restart: bool = setting(
    False, "throw away what an interrupted conversion has done"
  )
  beam: str | None = setting(None, ABOUT)

  def check(self):
    if not self.list_formats and not (self.source and self.output):
      yield "source and --output are needed"


def parse_arguments(
  arguments: list[str] | None = None,
) -> list[Command | ConversionSettings]:
  if arguments is None:
    arguments = sys.argv[1:]
  return parse_flags(
    spelled(arguments),
    Command,
    ConversionSettings,
    prog="python -m input_pipeline.convert",
    description="Converts region features into a region store. The same "
    "command goes on where an interrupted conversion stopped. docs/data.md "
    "has the commands for every format.",
  )


def main(arguments: list[str] | None = None) -> int:
  """Runs the command; returns its exit status."""
  command, settings = parse_arguments(arguments)
  return run_command(lambda: _convert(command, settings))


def _convert(command: Command, settings: ConversionSettings) -> None:
  from input_pipeline.conversion.run import convert
  from input_pipeline.formats.registry import FORMATS, find_format

  if command.list_formats:
    width = max(map(len, FORMATS))
    for name, reader in FORMATS.items():
      print(f"{name:{width}}  {reader.expects}")
    return
  reader, reason = find_format(command.source, command.format)
  print(f"{command.source}: {reader.name} ({reason})", file=sys.stderr)
  runner = None
  if command.beam is not None:
    from input_pipeline.conversion.runners import beam_runner

    runner = beam_runner(command.beam)
  manifest = convert(
    command.source,
    reader,
    command.output,
    settings=settings,
    workers=command.workers,
    sizes=command.sizes,
    extractor=command.extractor,
    restart=command.restart,
    runner=runner,
  )
  print(_summary(command.output, manifest))


def _summary(output: pathlib.Path, manifest: dict) -> str:
  """A few lines about the new store."""
  regions, values = (
    manifest[key] for key in ("regions_per_image", "feature_statistics")
  )
  size = sum(shard["bytes"] for shard in manifest["shards"])
  classes = manifest["num_classes"]
  lines = [
    f"{output}: {manifest['num_images']} images in {len(manifest['shards'])} "
    f"shards, {size / 1e6:,.1f} MB",
    f"  regions   {regions['min']} to {regions['max']} an image, mean "
    f"{regions['mean']:.1f}, {manifest['region_order']}",
    f"  features  {manifest['feature_dim']} {manifest['feature_encoding']}, "
    f"mean {values['mean']:.3f}, std {values['std']:.3f}, "
    f"{values['min']:.3g} to {values['max']:.3g}, "
    f"{values['share_of_zeros']:.1%} zeros",
    "  classes   "
    + (
      f"{classes} probabilities"
      if classes
      else ", ".join(manifest["optional"]) or "none"
    ),
  ]
  if manifest["feature_encoding"] != "float16":
    lines.append(
      f"  8 bits    error {manifest['quantisation_error']:.2%} of the features"
    )
  lines += [
    f"  {count} {what.replace('_', ' ')}"
    for what, count in manifest["conversion"].items()
    if what.startswith(("images_", "boxes_", "rows_")) and count
  ]
  if manifest["captions"]:
    lines.append(f"  captions  {output / manifest['captions']}")
  return "\n".join(lines)


if __name__ == "__main__":
  sys.exit(main())
