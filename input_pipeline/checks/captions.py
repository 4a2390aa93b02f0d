"""D8, D9 and D11: the texts of captions, and their pieces in a vocabulary."""

import collections
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from input_pipeline.checks.annotation_file import SplitCaptions
from input_pipeline.checks.report import Findings, Place
from input_pipeline.checks.statistics import histogram
from input_pipeline.text.tokenizer import (
  MAX_UNKNOWN_SHARE,
  Tokenizer,
  TokenTable,
)

LONGEST = 512  # positions that BERT has
SPECIAL = 2  # [CLS] and [SEP]
LENGTH_BINS = (0, 1, 5, 10, 15, 20, 30, 50, 100, LONGEST)
# Control characters but tab, and the one that replaces undecodable bytes.
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\ufffd]")
_CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
# What is counted without a vocabulary: CJK characters, words, marks.
_PIECE = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+|[^\w\s]")


class _Texts:
  """The texts of a split that are checked."""

  def __init__(self, split: SplitCaptions, chosen: np.ndarray | None):
    captions = split.captions
    every = range(len(captions.texts))
    self.numbers = every if chosen is None else chosen.tolist()
    self.texts = [captions.texts[number] for number in self.numbers]
    self.split = split

  def place(self, index: int, found: str) -> Place:
    captions = self.split.captions
    image = captions.image_of_text[self.numbers[index]]
    return Place(found, self.split.file, image_id=captions.image_ids[image])


def check_captions(
  split: SplitCaptions,
  findings: Findings,
  *,
  tokenizer: Tokenizer | None,
  max_text_length: int,
  chosen: np.ndarray | None = None,
) -> dict[str, Any]:
  """Adds what is wrong with the texts of a split.

  Args:
    split: the captions of the split.
    findings: findings are added to it.
    tokenizer: counts pieces; without it words and CJK characters are counted,
      and unknown pieces are not.
    max_text_length: L, special tokens included.
    chosen: numbers of the texts to check; None for all.

  Returns:
    A section of the report.
  """
  looked_at = _Texts(split, chosen)
  texts, kind, share = looked_at.texts, "pieces", None
  if tokenizer is None:
    kind = "words"
    lengths = np.array([len(_PIECE.findall(text)) for text in texts])
  else:
    table = tokenizer.encode(texts)
    lengths = table.lengths
    share = _check_unknown(looked_at, table, tokenizer, findings)
  _check_lengths(looked_at, lengths, kind, max_text_length, findings)
  _check_characters(looked_at, findings)
  if len(texts) == len(split.captions.texts):
    _check_repeats(looked_at, findings)
  captions = split.captions
  per_image = np.bincount(
    captions.image_of_text, minlength=len(captions.image_ids)
  )
  return {
    "file": split.file,
    "format": captions.format,
    "ids_compared": captions.id_rule or None,
    "images": len(captions.image_ids),
    "captions": len(captions.texts),
    "captions_per_image": dict(
      min=int(per_image.min()),
      mean=float(per_image.mean()),
      max=int(per_image.max()),
    ),
    "length": dict(
      unit=kind, mean=float(lengths.mean()), max=int(lengths.max())
    ),
    "length_histogram": histogram(
      collections.Counter(lengths.tolist()), LENGTH_BINS
    ),
    "cut_off": int((lengths > max_text_length - SPECIAL).sum()),
    "share_of_unknown": share,
  }


def _check_lengths(
  looked_at: _Texts,
  lengths: np.ndarray,
  kind: str,
  max_text_length: int,
  findings: Findings,
):
  room = max_text_length - SPECIAL
  slots = f"at most {room} {kind} for max_text_length={max_text_length}"
  few, many = f"more than one of its {kind}", f"at most {LONGEST} {kind}"
  for bad, add, wanted, hint in (
    (lengths == 0, findings.error, kind, "drop these captions"),
    (lengths == 1, findings.warning, few, None),
    (lengths > LONGEST, findings.warning, many, "is this one caption?"),
    (lengths > room, findings.note, slots, "what comes after is cut off"),
  ):
    for index in np.flatnonzero(bad):
      found = f"{lengths[index]} {kind}, {_quote(looked_at.texts[index])}"
      place = looked_at.place(index, found)
      add("D8", place, wanted, hint, field="captions")


def _check_characters(looked_at: _Texts, findings: Findings):
  wanted = "no control or replacement characters"
  hint = "a BERT tokenizer drops these; was the file decoded wrongly?"
  for index, text in enumerate(looked_at.texts):
    if control := _CONTROL.search(text):
      found = f"U+{ord(control.group()):04X} in {_quote(text)}"
      place = looked_at.place(index, found)
      findings.warning("D9", place, wanted, hint, field="captions")


def _check_unknown(
  looked_at: _Texts,
  table: TokenTable,
  tokenizer: Tokenizer,
  findings: Findings,
) -> float | None:
  """Returns the share of unknown pieces."""
  unknown = table.ids == tokenizer.unk_id
  if not unknown.size:
    return None
  share = float(unknown.mean())
  if share > MAX_UNKNOWN_SHARE:
    texts, split = looked_at.texts, looked_at.split.name
    first = int(np.searchsorted(table.offsets, unknown.argmax(), "right")) - 1
    found = (
      f"{share:.1%} unknown pieces in split {split!r}, such as in "
      f"{_quote(texts[first])}"
    )
    findings.warning(
      "D9",
      looked_at.place(first, found),
      f"at most {MAX_UNKNOWN_SHARE:.0%}",
      _why_unknown(texts),
      field="captions",
      count=int(unknown.sum()),
    )
  return share


def _check_repeats(looked_at: _Texts, findings: Findings):
  """Adds captions that an image has twice."""
  owners = looked_at.split.captions.image_of_text.tolist()
  wanted = "every caption of an image once"
  hint = "it counts twice in training, and as two texts in retrieval"
  seen: set[tuple[int, str]] = set()
  for index, key in enumerate(zip(owners, looked_at.texts, strict=True)):
    if key in seen:
      place = looked_at.place(index, f"{_quote(key[1])} again")
      findings.warning("D11", place, wanted, hint, field="captions")
    seen.add(key)


def _why_unknown(texts: Sequence[str]) -> str:
  """A hint on why many pieces are unknown."""
  sample = "".join(texts[:1000])
  cjk = len(re.findall(f"[{_CJK}]", sample)) / max(len(sample), 1)
  if cjk > 0.2:
    return "the captions are Chinese: is this a Chinese vocabulary?"
  return (
    "a vocabulary of another language, or a cased one: text is lower-cased "
    "before it is looked up"
  )


def _quote(text: str) -> str:
  return repr(text if len(text) <= 60 else text[:57] + "...")
