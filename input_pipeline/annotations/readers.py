"""The readers of captions, and which of them a file is for."""

import pathlib

from input_pipeline.annotations import (
  chinese_clip,
  json_captions,
  kdd_queries,
  line_captions,
)
from input_pipeline.annotations.annotation_file import AnnotationFile
from input_pipeline.annotations.reader import Reader
from interbert_jax.contract.errors import DataError

READERS: dict[str, Reader] = {
  reader.name: reader
  for reader in (
    json_captions.OWN_JSONL,
    json_captions.OFFICIAL_JSONLINE,
    chinese_clip.READER,
    json_captions.KARPATHY,
    json_captions.COCO_CAPTIONS,
    json_captions.CAPTION_DICT,
    line_captions.URL_TSV,
    line_captions.SCAN_CAPS,
    kdd_queries.READER,
    line_captions.NER_TITLES,
    line_captions.TITLE_TSV,  # fits most: behind all others
  )
}


def find_reader(
  path: str | pathlib.Path, format: str = "auto"
) -> tuple[AnnotationFile, Reader, str]:
  """The file, its reader, and why it is that one."""
  path = pathlib.Path(path)
  if not path.is_file():
    raise DataError(
      "no such annotation file",
      file=path,
      hint="docs/data.md lists what is read, python -m tools.sample_data "
      "--mode=shapes makes an example",
    )
  source = AnnotationFile(path)
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
    return source, json_captions.OWN_JSONL, "its name"
  known = "\n".join(f"  {r.name}: {r.expects}" for r in READERS.values())
  raise DataError(
    f"found {source.first_line[:60]!r}, wanted one of\n{known}\n", file=path
  )
