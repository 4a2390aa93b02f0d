"""The readers of captions, and which of them a file is for."""

import pathlib

from input_pipeline.annotations import (
  caption_dict,
  chinese_clip,
  coco_captions,
  karpathy,
  kdd_queries,
  ner_titles,
  official_jsonline,
  own_jsonl,
  scan_caps,
  title_tsv,
  url_tsv,
)
from input_pipeline.annotations.reader import Reader
from input_pipeline.annotations.source import Source
from interbert_jax.contract.errors import DataError

READERS: dict[str, Reader] = {
  module.READER.name: module.READER
  for module in (
    own_jsonl,
    official_jsonline,
    chinese_clip,
    karpathy,
    coco_captions,
    caption_dict,
    url_tsv,
    scan_caps,
    kdd_queries,
    ner_titles,
    title_tsv,  # fits most: behind all others
  )
}


def find_reader(
  path: str | pathlib.Path, format: str = "auto"
) -> tuple[Source, Reader, str]:
  """The file, its reader, and why it is that one."""
  path = pathlib.Path(path)
  if not path.is_file():
    raise DataError(
      "no such annotation file",
      file=path,
      hint="docs/data.md lists what is read, python -m tools.sample_data "
      "--mode=shapes makes an example",
    )
  source = Source(path)
  if format != "auto":
    if format not in READERS:
      raise DataError(
        f"found {format!r}, wanted auto or one of {', '.join(READERS)}",
        field="captions.format",
      )
    return source, READERS[format], "asked for"
  for reader in READERS.values():
    reason = reader.detect(source)
    if reason is not None:
      return source, reader, reason
  if "answer_choices" in source.first_object:
    raise DataError(
      "found VCR's questions, which are no captions",
      file=path,
      hint="annotations/vcr.py reads them",
    )
  if source.is_lines_of_json:  # its errors say what a line should have
    return source, own_jsonl.READER, "its name"
  known = "\n".join(f"  {r.name}: {r.expects}" for r in READERS.values())
  raise DataError(
    f"found {source.first_line[:60]!r}, wanted one of\n{known}\n", file=path
  )
