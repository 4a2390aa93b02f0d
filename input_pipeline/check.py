"""Checks a region store and the captions that go with it, before training.

python -m input_pipeline.check --store=data/regions \
    --annotations=captions.jsonl --vocab=vocab.txt
"""

import argparse
import pathlib
import sys

from interbert_jax.contract.command import run_command
from interbert_jax.contract.files import write_text

_EXIT = "exit status: 0 ok (there may be warnings), 1 errors found, 2 not run"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m input_pipeline.check",
    description=__doc__.splitlines()[0],
    epilog=_EXIT,
  )
  parser.add_argument("--store", type=pathlib.Path, required=True)
  parser.add_argument(
    "--annotations",
    type=pathlib.Path,
    action="append",
    default=[],
    help="captions in any format, or VCR's questions; may be repeated",
  )
  parser.add_argument(
    "--splits", help="of the annotations, with commas between (default: all)"
  )
  parser.add_argument(
    "--vocab", type=pathlib.Path, help="for lengths and unknown pieces"
  )
  parser.add_argument("--max_regions", type=int, default=36)
  parser.add_argument("--max_text_length", type=int, default=36)
  parser.add_argument("--batch_size", type=int, help="global, for D15 and D16")
  parser.add_argument("--devices", type=int, help="that share a batch")
  parser.add_argument(
    "--fast",
    action="store_true",
    help="a sample of 256 records and no checksums, as training does it",
  )
  parser.add_argument(
    "--output",
    type=pathlib.Path,
    help="JSON of findings and summary; missing_ids.txt is written beside it",
  )
  parser.add_argument(
    "--draw",
    type=int,
    default=0,
    metavar="N",
    help="draw N images of the store, drawn at random, into --draw_to",
  )
  parser.add_argument(
    "--draw_to",
    type=pathlib.Path,
    default=pathlib.Path("check"),
    help="directory of index.html and PNGs (default: %(default)s)",
  )
  parser.add_argument(
    "--images", type=pathlib.Path, help="folder with files named by image id"
  )
  parser.add_argument(
    "--class_names",
    type=pathlib.Path,
    help="a name per line, without the background",
  )
  parser.add_argument(
    "--font",
    type=pathlib.Path,
    help="font file for captions in the PNGs, needed for Chinese ones",
  )
  options = parser.parse_args(arguments)
  for name in ("max_regions", "max_text_length", "batch_size", "devices"):
    value = getattr(options, name)
    if value is not None and value < 1:
      parser.error(f"--{name}={value}: wanted at least 1")
  if options.draw < 0:
    parser.error(f"--draw={options.draw}: wanted 0 or more")
  return options


def main(arguments: list[str] | None = None) -> int:
  """Runs the command; returns its exit status."""
  options = parse_arguments(arguments)
  return run_command(lambda: _check(options))


def _check(options: argparse.Namespace) -> int:
  from input_pipeline.checks.run import FAST_SAMPLE, Checks, run_checks
  from interbert_jax.contract.progress import Progress

  checks = Checks(
    max_regions=options.max_regions,
    max_text_length=options.max_text_length,
    batch_size=options.batch_size,
    devices=options.devices,
    sample=FAST_SAMPLE if options.fast else None,
    checksums=not options.fast,
    max_shown=options.draw,
  )
  with Progress(total=None, unit="images", what="check") as progress:
    checked = run_checks(
      options.store,
      annotations=options.annotations,
      splits=options.splits.split(",") if options.splits else None,
      vocab=options.vocab,
      checks=checks,
      progress=progress,
    )
  report = checked.report
  print(report.to_text())
  if options.output:
    _write(options.output, report)
  if options.draw:
    print(_draw(options, checked))
  return 0 if report.ok else 1


def _write(path: pathlib.Path, report):
  from input_pipeline.checks.splits import MISSING_IDS

  write_text(path, report.to_json())
  if report.missing_ids:
    lines = "".join(f"{image_id}\n" for image_id in report.missing_ids)
    write_text(path.with_name(MISSING_IDS), lines)


def _draw(options: argparse.Namespace, checked) -> pathlib.Path:
  from input_pipeline.checks.gallery import read_class_names, write_gallery

  captions: dict[str, tuple[str, list[str]]] = {}
  for split in checked.splits:
    owners = split.captions.image_of_text.tolist()
    for text, owner in zip(split.captions.texts, owners, strict=True):
      image_id = split.captions.image_ids[owner]
      captions.setdefault(image_id, (split.name, []))[1].append(text)
  names = options.class_names
  return write_gallery(
    options.draw_to,
    checked.records,
    captions=captions,
    images=options.images,
    class_names=None if names is None else read_class_names(names),
    background_class=checked.background_class,
    title=f"Regions of {options.store}",
    font=options.font,
  )


if __name__ == "__main__":
  sys.exit(main())
