"""What a start from given weights took from them, what it left, and why."""

import dataclasses
from typing import Any

# Names shown of each group; the whole report is in init_report.json.
_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class InitReport:
  """Three groups: every parameter is in one of the first two.

  Attributes:
    path: where the weights are.
    format: what they are, one of `init_source.FORMATS`.
    loaded: our path -> the name in the file.
    random: our path -> why it starts at random.
    unused: name in the file -> why nothing took it.
    notes: what could not be checked, and what differs by choice.
  """

  path: str
  format: str
  loaded: dict[str, str]
  random: dict[str, str]
  unused: dict[str, str]
  notes: tuple[str, ...] = ()

  def __str__(self) -> str:
    return f"{self.path} ({self.format})"

  def lines(self) -> list[str]:
    """Counts and first names, for people."""
    lines = [f"weights: {len(self.loaded)} tensors loaded from {self}"]
    for title, group in (
      ("start at random", self.random),
      ("in the file are unused", self.unused),
    ):
      if group:
        first = ", ".join(list(group)[:_SHOWN])
        more = ", ..." if len(group) > _SHOWN else ""
        lines.append(f"  {len(group)} {title}: {first}{more}")
    return lines + [f"  note: {note}" for note in self.notes]

  def to_json(self) -> dict[str, Any]:
    groups = ("loaded", "random", "unused")
    counts = {name: len(getattr(self, name)) for name in groups}
    return {"counts": counts, **dataclasses.asdict(self)}
