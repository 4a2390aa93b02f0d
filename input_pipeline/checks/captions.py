"""D8, D9 and D11: the texts of captions, and their pieces in a vocabulary."""

import collections
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from input_pipeline.checks.annotation_file import SplitCaptions
from input_pipeline.checks.report import Findings, Place
from input_pipeline.checks.statistics import histogram
from input_pipeline.text.tokenizer import MAX_UNKNOWN_SHARE, Tokenizer

LONGEST = 512  # positions that BERT has
LENGTH_BINS = (0, 1, 5, 10, 15, 20, 30, 50, 100, LONGEST)
# C0 without tab, delete, C1, and the mark of text that was decoded wrongly.
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\ufffd]")
_CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
# For lengths where there is no vocabulary: CJK characters, words, marks.
_PIECE = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+|[^\w\s]")


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
    split: its captions.
    findings: takes what is found.
    tokenizer: counts pieces; without it words and CJK characters are counted,
      and nothing is said of unknown ones.
    max_text_length: L, special tokens included.
    chosen: numbers of the texts to look at; None for all.

  Returns:
    A section of the report.
  """
  captions = split.captions
  chosen = np.arange(len(captions.texts)) if chosen is None else chosen
  texts = [captions.texts[text] for text in chosen]

  def add(case, severity, index, found, count=1, **about):
    owner = captions.image_of_text[chosen[index]]
    place = Place(found, split.file, image_id=captions.image_ids[owner])
    findings.add(case, severity, place, field="captions", count=count, **about)

  if tokenizer is None:
    lengths = np.array([len(_PIECE.findall(text)) for text in texts])
    unknown = None
  else:
    table = tokenizer.encode(texts)
    lengths = table.lengths
    unknown = table.ids == tokenizer.unk_id
  room = max_text_length - 2  # [CLS] and [SEP]
  kind = "words" if tokenizer is None else "pieces"
  for bad, case, severity, wanted, hint in (
    (lengths == 0, "D8", "error", f"{kind}", "drop these captions"),
    (lengths == 1, "D8", "warning", f"more than one of its {kind}", None),
    (
      lengths > LONGEST,
      "D8",
      "warning",
      f"at most {LONGEST} {kind}",
      "is this one caption?",
    ),
    (
      lengths > room,
      "D8",
      "note",
      f"at most {room} {kind} for max_text_length={max_text_length}",
      "what comes after is cut off",
    ),
  ):
    for index in np.flatnonzero(bad):
      found = f"{lengths[index]} {kind}, {_quote(texts[index])}"
      add(case, severity, index, found, wanted=wanted, hint=hint)
  for index, text in enumerate(texts):
    control = _CONTROL.search(text)
    if control:
      found = f"U+{ord(control.group()):04X} in {_quote(text)}"
      hint = "a BERT tokenizer drops these; was the file decoded wrongly?"
      add(
        "D9",
        "warning",
        index,
        found,
        wanted="no control or replacement characters",
        hint=hint,
      )
  if chosen.size == len(captions.texts):
    _check_repeats(split, add)
  share = (
    float(unknown.mean()) if unknown is not None and unknown.size else None
  )
  if share is not None and share > MAX_UNKNOWN_SHARE:
    first = int(np.searchsorted(table.offsets, unknown.argmax(), "right")) - 1
    add(
      "D9",
      "warning",
      first,
      f"{share:.1%} unknown pieces in split {split.name!r}, "
      f"such as in {_quote(texts[first])}",
      wanted=f"at most {MAX_UNKNOWN_SHARE:.0%}",
      hint=_why_unknown(texts, tokenizer),
      count=int(unknown.sum()),
    )
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
    "captions_read": len(texts),
    "length": {
      "unit": kind,
      "mean": float(lengths.mean()),
      "max": int(lengths.max()),
    },
    "length_histogram": histogram(
      collections.Counter(lengths.tolist()), LENGTH_BINS
    ),
    "cut_off": int((lengths > room).sum()),
    "share_of_unknown": share,
  }


def _check_repeats(split: SplitCaptions, add):
  """Captions that an image has twice."""
  captions = split.captions
  seen: dict[tuple[int, str], int] = {}
  owners = captions.image_of_text.tolist()
  for index, key in enumerate(zip(owners, captions.texts, strict=True)):
    if seen.setdefault(key, index) != index:
      add(
        "D11",
        "warning",
        index,
        f"{_quote(key[1])} again",
        wanted="every caption of an image once",
        hint="it counts twice in training, and as two texts in retrieval",
      )


def _why_unknown(texts: Sequence[str], tokenizer: Tokenizer) -> str:
  """What may be wrong where many pieces are unknown."""
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
