"""The formats of region features that can be read.

A format more is one file here and one line in `_MODULES`.
"""

import importlib
from pathlib import Path

from input_pipeline.formats.base import Format
from interbert_jax.contract.errors import DataError

_MODULES = (
  "butd_tsv",
  "lxmert_tsv",
  "volta_tsv",
  "vinvl_tsv",
  "kdd_tsv",
  "vilbert_lmdb",
  "vilbert_mt_lmdb",
  "tensorpack_lmdb",
  "volta_lmdb",
  "uniter_lmdb",
  "mmf_lmdb",
  "uniter_npz",
  "milvlg_npz",
  "tern_npz",
  "vilbert_mt_npy",
  "mmf_npy",
  "scan_npy",
  "vlbert_zip",
  "volta_h5",
)
FORMATS: dict[str, Format] = {
  name: importlib.import_module(f"{__name__}.{name}").FORMAT
  for name in _MODULES
}


def find_format(path: Path, name: str = "auto") -> tuple[Format, str]:
  """The reader of a source, and why it is that one.

  Raises:
    DataError: no format fits, or several do.
  """
  if not path.exists():
    raise DataError("no such file or directory", file=path)
  if name != "auto":
    if name not in FORMATS:
      raise DataError(
        f"found {name!r}, wanted auto or one of {', '.join(FORMATS)}",
        field="format",
      )
    return FORMATS[name], "asked for"
  reasons = {
    key: reason
    for key, reader in FORMATS.items()
    if (reason := reader.detect(path)) is not None
  }
  if len(reasons) == 1:
    ((key, reason),) = reasons.items()
    return FORMATS[key], reason
  if reasons:
    fits = "; ".join(f"{key}: {reason}" for key, reason in reasons.items())
    raise DataError(
      f"several formats fit: {fits}", file=path, hint="choose with --format"
    )
  known = "\n".join(f"  {f.name}: {f.expects}" for f in FORMATS.values())
  raise DataError(
    f"found {_describe(path)}, wanted one of\n{known}\n",
    file=path,
    hint="--format=NAME reads it as one of these and says what does not fit",
  )


def _describe(path: Path) -> str:
  """What is there, for people."""
  if path.is_dir():
    names = sorted(p.name for p in path.iterdir())
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"a directory of {len(names)} entries ({shown})"
  with path.open("rb") as file:
    head = file.read(4096)
  if not head:
    return "an empty file"
  line = head.split(b"\n")[0]
  columns = line.count(b"\t") + 1
  if columns > 1:
    return f"a first line of {columns} tab-separated columns"
  return f"a file that begins with {head[:16]!r}"
