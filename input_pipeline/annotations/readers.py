"""The readers of captions, and which of them a file is for."""

import importlib
import pathlib
from collections.abc import Iterator, Mapping

from input_pipeline.annotations.reader import Reader
from input_pipeline.annotations.source import Source
from interbert_jax.contract.errors import DataError

_OWN = "jsonl"
# In the order in which they are asked whether a file is theirs: title_tsv fits
# most files.
_FORMATS = (
  *(_OWN, "official_jsonline", "chinese_clip", "karpathy", "coco_captions"),
  *("caption_dict", "url_tsv", "scan_caps", "kdd_queries", "ner_titles"),
  "title_tsv",
)


class _Readers(Mapping[str, Reader]):
  """The readers by format; one is imported when it is asked for."""

  def __getitem__(self, name: str) -> Reader:
    if name not in _FORMATS:
      raise KeyError(name)
    file = "own_jsonl" if name == _OWN else name
    module = importlib.import_module(f"input_pipeline.annotations.{file}")
    return module.READER

  def __iter__(self) -> Iterator[str]:
    return iter(_FORMATS)

  def __len__(self) -> int:
    return len(_FORMATS)


READERS = _Readers()


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
    if format not in _FORMATS:
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
    return source, READERS[_OWN], "its name"
  known = "\n".join(f"  {r.name}: {r.expects}" for r in READERS.values())
  raise DataError(
    f"found {source.first_line[:60]!r}, wanted one of\n{known}\n", file=path
  )
