"""The report of the checks: findings and a summary, as text and as JSON."""

import dataclasses
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from input_pipeline.store.manifest import MANIFEST_SAYS, FileFault
from interbert_jax.contract.text import escaped

SEVERITIES = ("error", "warning", "note")
PLACES_SHOWN = 3


@dataclass(frozen=True)
class Place:
  """A place, and what was found there."""

  found: str
  file: str | None = None
  record: int | None = None  # number in the file, from 0
  image_id: str | None = None

  def __str__(self) -> str:
    parts = [] if self.file is None else [self.file]
    parts += [] if self.record is None else [f"record {self.record}"]
    parts += [] if self.image_id is None else [f"image id {self.image_id!r}"]
    return ", ".join(parts)


@dataclass
class Finding:
  """A kind of fault: how often it occurs, and its first places.

  `case` is D1 to D17, or a word where there is no number: probs, zeros,
  extractor, captions, vocab.
  """

  case: str
  severity: str
  wanted: str
  field: str | None = None
  hint: str | None = None
  count: int = 0
  places: list[Place] = dataclasses.field(default_factory=list)

  @property
  def found(self) -> str:
    return self.places[0].found

  @property
  def file(self) -> str | None:
    return self.places[0].file

  @property
  def record(self) -> int | None:
    return self.places[0].record

  @property
  def image_id(self) -> str | None:
    return self.places[0].image_id

  def to_dict(self) -> dict[str, Any]:
    """The fields of the first place, and a list of all places kept."""
    return {
      "case": self.case,
      "severity": self.severity,
      "count": self.count,
      **vars(self.places[0]),
      "field": self.field,
      "wanted": self.wanted,
      "hint": self.hint,
      "places": [vars(place) for place in self.places],
    }

  def to_lines(self) -> list[str]:
    """Lines of text: what was found and wanted, then where."""
    about = "" if self.field is None else f"{self.field}: "
    often = f" ({self.count:,} times)" if self.count > 1 else ""
    head = f"{self.severity:7}  {self.case:9}  "
    indent = " " * len(head)
    lines = [f"{head}{about}found {self.found}, wanted {self.wanted}{often}"]
    for number, place in enumerate(self.places):
      also = f": {place.found}" if number else ""
      lines += [f"{indent}in {place}{also}"] if str(place) else []
    if len(self.places) > 1 and self.count > len(self.places):
      lines.append(f"{indent}and {self.count - len(self.places):,} more")
    lines += [f"{indent}-> {self.hint}"] if self.hint else []
    return [escaped(line, keep="") for line in lines]


class Findings:
  """Collects findings, and merges those of one kind."""

  def __init__(self):
    self._found: dict[tuple, Finding] = {}

  def add(
    self,
    severity: str,
    case: str,
    place: Place,
    wanted: str,
    hint: str | None = None,
    *,
    field: str | None = None,
    count: int = 1,
  ):
    """Adds a finding at one place, which stands for `count` of them.

    Findings are of one kind if everything but `place` and `count` is equal.
    """
    kind = (case, severity, wanted, field, hint)
    finding = self._found.setdefault(kind, Finding(*kind))
    finding.count += count
    if len(finding.places) < PLACES_SHOWN:
      finding.places.append(place)

  error = functools.partialmethod(add, "error")
  warning = functools.partialmethod(add, "warning")
  note = functools.partialmethod(add, "note")

  def fault(self, fault: FileFault):
    """Adds the fault of a file of a store."""
    found, wanted = fault.found, fault.wanted
    # The numbers of the manifest differ from file to file: one finding for all.
    if fault.says == MANIFEST_SAYS:
      found, wanted = f"{found} instead of {wanted}", "what the manifest says"
    place = Place(found, str(fault.file), image_id=fault.image_id)
    self.error(fault.case, place, wanted, fault.hint, field=fault.field)

  def sorted(self) -> list[Finding]:
    """Errors first, then by case."""
    return sorted(
      self._found.values(),
      key=lambda f: (SEVERITIES.index(f.severity), *_case_order(f.case)),
    )


@dataclass
class Report:
  """The result of all checks."""

  findings: list[Finding]
  summary: dict[str, Any]
  # All images with captions that the store lacks, for missing_ids.txt.
  missing_ids: tuple[str, ...] = ()

  @property
  def ok(self) -> bool:
    """True without errors; warnings and notes are allowed."""
    return not self.of_severity("error")

  def of_severity(self, severity: str) -> list[Finding]:
    return [f for f in self.findings if f.severity == severity]

  def to_json(self) -> str:
    content = {
      "ok": self.ok,
      "findings": [finding.to_dict() for finding in self.findings],
      "summary": self.summary,
      "missing_ids": len(self.missing_ids),
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"

  def to_text(self) -> str:
    """Aligned lines: the summary, the findings, the verdict last."""
    lines = []
    for section, facts in self.summary.items():
      lines += [section, *_table(facts), ""]
    for finding in self.findings:
      lines += finding.to_lines()
    lines += [""] if self.findings else []
    return "\n".join([*lines, self.verdict()])

  def verdict(self) -> str:
    """One line: how many of each severity."""
    counts = []
    for severity in SEVERITIES:
      count = len(self.of_severity(severity))
      plural = "" if count == 1 else "s"
      counts += [f"{count} kind{plural} of {severity}"] if count else []
    return f"{'ok' if self.ok else 'NOT OK'}: {', '.join(counts) or 'nothing'}"


def _case_order(case: str) -> tuple[int, str]:
  number = case.removeprefix("D")
  return (int(number), "") if number.isdigit() else (99, case)


def _table(facts: Mapping[str, Any]) -> list[str]:
  width = max(map(len, facts), default=0)
  return [f"  {key:{width}}  {_shown(value)}" for key, value in facts.items()]


def _shown(value: Any) -> str:
  if isinstance(value, Mapping):
    pairs = [f"{key} {_shown(inner)}" for key, inner in value.items()]
    return ", ".join(pairs) or "-"
  if isinstance(value, float):
    return f"{value:.4g}"
  if isinstance(value, int) and not isinstance(value, bool):
    return f"{value:,}"
  return "-" if value is None else escaped(str(value), keep="")
