"""Converts region features of any known format into a region store.

python -m input_pipeline.convert --source=flickr30k.lmdb --output=data/regions
"""

import argparse
import pathlib
import sys

from interbert_jax.contract.command import run_command

# Everything else is imported when it is needed, so that --help answers at once.


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
  from input_pipeline.conversion import options as known
  from input_pipeline.store.schema import ENCODINGS

  parser = argparse.ArgumentParser(
    prog="python -m input_pipeline.convert",
    description="Converts region features into a region store. The same "
    "command goes on where an interrupted conversion stopped. docs/data.md "
    "has the commands for every format.",
  )
  parser.add_argument("--source", type=pathlib.Path, help="file or directory")
  parser.add_argument(
    "--output", type=pathlib.Path, help="the store; must not exist yet"
  )
  parser.add_argument(
    "--format",
    default="auto",
    help="of the source; found out by default (--list_formats shows all)",
  )
  parser.add_argument("--list_formats", action="store_true")
  parser.add_argument(
    "--workers", type=int, default=1, help="processes (default: %(default)s)"
  )
  parser.add_argument(
    "--max_regions", type=int, help="regions kept of each image (default: all)"
  )
  parser.add_argument(
    "--order",
    choices=known.ORDERS,
    default="score",
    help="score: best regions first, where scores are known; stored: as they "
    "are, for ground-truth boxes that are referred to by number",
  )
  parser.add_argument(
    "--features",
    choices=ENCODINGS,
    default="float16",
    help="uint8 (features of a ReLU) and int8 need half the bytes; the "
    "manifest says what they cost (default: %(default)s)",
  )
  parser.add_argument(
    "--classes",
    choices=known.CLASSES,
    default="source",
    help="source: probabilities, else ids and scores, as they are; none: "
    "neither; background, uniform: probabilities out of id and score, the rest "
    "on the background or on all other classes; one_hot: all on the class",
  )
  parser.add_argument(
    "--num_classes",
    type=int,
    default=1601,
    help="background included, for probabilities out of ids "
    "(default: %(default)s)",
  )
  parser.add_argument(
    "--sizes",
    type=pathlib.Path,
    help="JSON of image sizes for sources without them: {id: [width, height]} "
    "or COCO's",
  )
  parser.add_argument(
    "--box_format",
    choices=known.BOX_FORMATS,
    default="source",
    help="xywh: boxes are x, y, width, height although the format says else",
  )
  parser.add_argument(
    "--max_bad_boxes",
    type=float,
    default=0.01,
    help="share of boxes that may be clipped or dropped (default: %(default)s)",
  )
  parser.add_argument(
    "--on_bad_record",
    choices=known.BAD_RECORDS,
    default="error",
    help="skip: leave records out that cannot be used, and list them",
  )
  parser.add_argument(
    "--compression",
    choices=("none", "zstd"),
    default="none",
    help="zstd: smaller where there are many zeros, slower to read",
  )
  parser.add_argument(
    "--split",
    default="train",
    help="of captions that come with the regions (default: %(default)s)",
  )
  parser.add_argument("--extractor", help="the detector, for the manifest")
  parser.add_argument(
    "--restart",
    action="store_true",
    help="throw away what an interrupted conversion has done",
  )
  parser.add_argument(
    "--beam",
    metavar="OPTIONS",
    nargs="?",
    const="",
    help="run as an Apache Beam pipeline with these options, such as "
    "--beam=--runner=FlinkRunner",
  )
  options = parser.parse_args(arguments)
  if not options.list_formats and not (options.source and options.output):
    parser.error("--source and --output are needed")
  if options.workers < 1:
    parser.error(f"--workers={options.workers}: wanted at least 1")
  return options


def main(arguments: list[str] | None = None) -> int:
  """Runs the command; returns its exit status."""
  options = parse_arguments(arguments)
  return run_command(lambda: _convert(options))


def _convert(options: argparse.Namespace) -> None:
  import dataclasses

  from input_pipeline.conversion.options import Options
  from input_pipeline.conversion.run import convert
  from input_pipeline.formats.registry import FORMATS, find_format

  if options.list_formats:
    width = max(map(len, FORMATS))
    for name, reader in FORMATS.items():
      print(f"{name:{width}}  {reader.expects}")
    return
  reader, reason = find_format(options.source, options.format)
  print(f"{options.source}: {reader.name} ({reason})", file=sys.stderr)
  runner = None
  if options.beam is not None:
    from input_pipeline.conversion.beam import beam_runner

    runner = beam_runner(options.beam)
  chosen = {
    field.name: getattr(options, field.name)
    for field in dataclasses.fields(Options)
  }
  manifest = convert(
    options.source,
    reader,
    options.output,
    options=Options(**chosen),
    workers=options.workers,
    sizes=options.sizes,
    extractor=options.extractor,
    restart=options.restart,
    runner=runner,
  )
  print(_summary(options.output, manifest))


def _summary(output: pathlib.Path, manifest: dict) -> str:
  """What was made, in a few lines."""
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
    if what.startswith(("images_", "boxes_")) and count
  ]
  if manifest["captions"]:
    lines.append(f"  captions  {output / manifest['captions']}")
  return "\n".join(lines)


if __name__ == "__main__":
  sys.exit(main())
