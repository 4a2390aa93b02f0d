"""All formats of region features, and which of them a source has."""

import zipfile
from pathlib import Path

from input_pipeline.formats import (
  bottom_up,
  kdd_tsv,
  mmf,
  scan_npy,
  tensorpack_lmdb,
  tern_npz,
  uniter,
  vilbert,
  vinvl_tsv,
  vlbert_zip,
  volta,
  volta_h5,
)
from input_pipeline.formats.base import RegionFormat
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import check_regular
from interbert_jax.contract.zip_file import MANY, ShortZip

FORMATS: dict[str, RegionFormat] = {
  reader.name: reader
  for reader in (
    *(bottom_up.BUTD_TSV, bottom_up.LXMERT_TSV, volta.VOLTA_TSV),
    *(vinvl_tsv.FORMAT, kdd_tsv.FORMAT),
    *(vilbert.VILBERT_LMDB, vilbert.VILBERT_MT_LMDB, tensorpack_lmdb.FORMAT),
    *(volta.VOLTA_LMDB, uniter.UNITER_LMDB, mmf.MMF_LMDB),
    *(uniter.UNITER_NPZ, bottom_up.MILVLG_NPZ, tern_npz.FORMAT),
    *(vilbert.VILBERT_MT_NPY, mmf.MMF_NPY, scan_npy.FORMAT),
    *(vlbert_zip.FORMAT, volta_h5.FORMAT),
  )
}


def find_format(path: Path, name: str = "auto") -> tuple[RegionFormat, str]:
  """The format of a source, and why it is that one.

  Raises:
    DataError: no format fits, or several do.
  """
  if not path.exists():
    raise DataError("no such file or directory", file=path)
  check_regular(path)
  if name != "auto":
    if name not in FORMATS:
      raise DataError(
        f"found {name!r}, wanted auto or one of {', '.join(FORMATS)}",
        field="format",
      )
    return FORMATS[name], "asked for"
  if path.is_file():
    _refuse_packed(path)
  found = {key: reader.detect(path) for key, reader in FORMATS.items()}
  reasons = {key: why for key, why in found.items() if isinstance(why, str)}
  if len(reasons) == 1:
    ((key, reason),) = reasons.items()
    return FORMATS[key], reason
  if reasons:
    fits = "; ".join(f"{key}: {reason}" for key, reason in reasons.items())
    raise DataError(
      f"several formats fit: {fits}", file=path, hint="choose with --format"
    )
  nearly = {k: why for k, why in found.items() if isinstance(why, DataError)}
  if len(nearly) == 1:
    ((key, error),) = nearly.items()
    if error.field:  # of the first record alone: reading says more
      return FORMATS[key], f"the nearest format; {error.problem}"
  for error in nearly.values():  # a file that all of them find damaged
    raise error
  known = "\n".join(f"  {f.name}: {f.expects}" for f in FORMATS.values())
  raise DataError(
    f"found {_describe(path)}, wanted one of\n{known}\n",
    file=path,
    hint="--format=NAME reads it as one of these and says what does not fit",
  )


def _refuse_packed(path: Path):
  with path.open("rb") as file:
    head = file.read(2)
  if head == b"\x1f\x8b":
    raise DataError(
      "packed with gzip",
      file=path,
      hint=f"unpack it first: gunzip --keep {path.name}",
    )
  if head == b"PK" and path.suffix != ".npz" and zipfile.is_zipfile(path):
    with ShortZip(path, max_members=MANY) as archive:
      names = archive.namelist()
    if not any(name.endswith(".json") for name in names):
      raise DataError(
        f"a zip of {len(names)} files such as {names[:1]}",
        file=path,
        hint=f"unpack it first: unzip {path.name}",
      )


def _describe(path: Path) -> str:
  """Describes a source in a few words."""
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
