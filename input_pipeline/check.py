"""Checks a region store and the captions that go with it, before training.

python -m input_pipeline.check --store=data/regions \
    --annotations=captions.jsonl --vocab=vocab.txt
"""

import argparse
import dataclasses
import pathlib
import sys

from input_pipeline.checks.settings import CheckSettings
from interbert_jax.contract.command import run_command
from interbert_jax.contract.files import write_text
from interbert_jax.contract.flags import add_flags, read_flags
from interbert_jax.contract.settings import Settings, setting

_EXIT = "exit status: 0 ok (there may be warnings), 1 errors found, 2 not run"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command(Settings):
  """The files to read and write."""

  store: pathlib.Path = setting(dataclasses.MISSING, "the region store")
  splits: str | None = setting(
    None, "splits of the annotations, with commas between; all by default"
  )
  vocab: pathlib.Path | None = setting(
    None, "WordPiece vocabulary, for lengths and unknown pieces"
  )
  output: pathlib.Path | None = setting(
    None,
    "JSON of findings and summary; missing_ids.txt is written beside it",
  )
  draw_to: pathlib.Path = setting(
    pathlib.Path("check"), "directory of index.html and PNGs"
  )
  images: pathlib.Path | None = setting(
    None, "folder with files named by image id"
  )
  class_names: pathlib.Path | None = setting(
    None, "a name per line, without the background"
  )
  font: pathlib.Path | None = setting(
    None, "font file for captions in the PNGs, needed for Chinese ones"
  )


def main(arguments: list[str] | None = None) -> int:
  """Runs the command; returns its exit status."""
  parser = argparse.ArgumentParser(
    prog="python -m input_pipeline.check",
    description=__doc__.splitlines()[0],
    epilog=_EXIT,
  )
  parser.add_argument(
    "--annotations",
    type=pathlib.Path,
    action="append",
    default=[],
    help="captions in any format, or VCR's questions; may be repeated",
  )
  add_flags(parser, Command)
  add_flags(parser, CheckSettings)
  flags = parser.parse_args(arguments)
  command = read_flags(parser, Command, flags)
  settings = read_flags(parser, CheckSettings, flags)
  return run_command(lambda: _check(command, settings, flags.annotations))


def _check(
  command: Command, settings: CheckSettings, annotations: list[pathlib.Path]
) -> int:
  from input_pipeline.checks.run import run_checks
  from interbert_jax.contract.progress import Progress

  with Progress(total=None, unit="images", what="check") as progress:
    checked = run_checks(
      command.store,
      annotations=annotations,
      splits=command.splits.split(",") if command.splits else None,
      vocab=command.vocab,
      settings=settings,
      progress=progress,
    )
  report = checked.report
  print(report.to_text())
  if command.output:
    _write(command.output, report)
  if settings.draw:
    print(_draw(command, checked))
  return 0 if report.ok else 1


def _write(path: pathlib.Path, report):
  from input_pipeline.checks.splits import MISSING_IDS

  write_text(path, report.to_json())
  if report.missing_ids:
    lines = "".join(f"{image_id}\n" for image_id in report.missing_ids)
    write_text(path.with_name(MISSING_IDS), lines)


def _draw(command: Command, checked) -> pathlib.Path:
  from input_pipeline.checks.gallery import read_class_names, write_gallery

  captions: dict[str, tuple[str, list[str]]] = {}
  for split in checked.splits:
    owners = split.captions.image_of_text.tolist()
    for text, owner in zip(split.captions.texts, owners, strict=True):
      image_id = split.captions.image_ids[owner]
      captions.setdefault(image_id, (split.name, []))[1].append(text)
  names = command.class_names
  return write_gallery(
    command.draw_to,
    checked.records,
    captions=captions,
    images=command.images,
    class_names=None if names is None else read_class_names(names),
    background_class=checked.background_class,
    title=f"Regions of {command.store}",
    font=command.font,
  )


if __name__ == "__main__":
  sys.exit(main())
