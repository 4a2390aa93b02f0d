"""The formats of captions, and which of them a file has."""

import importlib
import pathlib

from input_pipeline.annotations.annotation_file import AnnotationFile
from input_pipeline.annotations.reader import Reader
from interbert_jax.contract.errors import DataError

# Format -> the module that reads it, in the order in which a file is compared
# with them. Only the modules that a file needs are imported.
READERS = {
  "sbu_json": "json_captions",
  "jsonl": "json_captions",
  "official_jsonline": "json_captions",
  "chinese_clip": "chinese_clip",
  "karpathy": "json_captions",
  "coco_captions": "json_captions",
  "caption_dict": "json_captions",
  "caption_list": "json_captions",
  "url_tsv": "line_captions",
  "scan_caps": "line_captions",
  "kdd_queries": "kdd_queries",
  "ner_titles": "line_captions",
  "caption_rows": "line_captions",
  "title_tsv": "line_captions",  # nearly any TSV fits: it is the last
}


def read_with(format: str) -> Reader:
  """The reader of a format: KARPATHY in its module for "karpathy"."""
  module = f"input_pipeline.annotations.{READERS[format]}"
  return getattr(importlib.import_module(module), format.upper())


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
    return source, read_with(format), "asked for"
  for reader in map(read_with, READERS):
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
    return source, read_with("jsonl"), "its name"
  known = "\n".join(f"  {name}: {read_with(name).expects}" for name in READERS)
  raise DataError(
    f"found {source.first_line[:60]!r}, wanted one of\n{known}\n", file=path
  )
