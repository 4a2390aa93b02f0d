"""Captions of the extracted images, from any file of captions."""

import json
import pathlib
from collections.abc import Sequence

from input_pipeline.annotations.load import list_splits, load_captions
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import write_text

NAME = "captions.jsonl"


def match_captions(
  path: pathlib.Path,
  image_ids: Sequence[str],
  *,
  format: str = "auto",
  on_missing: str = "error",
  store: object = "the store",
) -> tuple[list[str], list[str]]:
  """Returns lines of our own JSONL under the ids given, and notes for people.

  Args:
    path: of the captions, in any known format.
    image_ids: of the images that there are.
    format: of the file; found out by default.
    on_missing: "skip" leaves out captions whose image is not there.
    store: what has the images, for messages.

  Raises:
    DataError: the file cannot be read, or what on_missing does not let pass.
  """
  lines, notes, refused = [], [], None
  split_of: dict[str, str] = {}
  for split in dict.fromkeys(list_splits(path, format=format)):
    try:
      captions = load_captions(
        path,
        split,
        format=format,
        image_ids=image_ids,
        store=store,
        on_missing=on_missing,
      )
    except DataError as error:
      if on_missing == "error":
        raise
      # A folder may have the images of one split only.
      refused = refused or error
      notes.append(str(error))
      continue
    texts: list[list[str]] = [[] for _ in captions.image_ids]
    for text, owner in zip(captions.texts, captions.image_of_text, strict=True):
      texts[owner].append(text)
    for image_id, own in zip(captions.image_ids, texts, strict=True):
      before = split_of.setdefault(image_id, split)
      if before != split:
        raise DataError(
          f"found in splits {before!r} and {split!r}, wanted one",
          file=path,
          record=f"(image id {image_id!r})",
        )
      line = {"image_id": image_id, "split": split, "captions": own}
      lines.append(json.dumps(line, ensure_ascii=False))
    notes += [f"split {split!r}: {note}" for note in captions.notes]
  if not lines:
    raise refused or DataError("found no captions", file=path)
  without = len(image_ids) - len(split_of)
  if without:
    notes.append(f"{without} of {len(image_ids)} images have no captions")
  return lines, notes


def write_captions(path: pathlib.Path, lines: list[str]) -> None:
  """Writes them whole, unless they are there already.

  Raises:
    DataError: others are there.
  """
  text = "".join(f"{line}\n" for line in lines)
  if not path.exists():
    write_text(path, text)
  elif path.read_text("utf-8") != text:
    raise DataError(
      "exists already, with other captions",
      file=path,
      hint="remove it or choose another --output",
    )
