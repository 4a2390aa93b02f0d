"""What is true of a scene, in no language: groups, relations, places, sizes."""

import dataclasses

import numpy as np

# A direction or a size is said only where it is plain to see.
_CLEARLY_MORE = 1.2
_CLEARLY_BIGGER = 1.3

COLUMNS = ("left", "middle", "right")
ROWS = ("top", "middle", "bottom")


@dataclasses.dataclass(frozen=True)
class Group:
  """All objects of one class: its index, and their boxes [count, 4]."""

  class_index: int
  boxes: np.ndarray

  @property
  def count(self) -> int:
    return len(self.boxes)


@dataclasses.dataclass(frozen=True)
class Facts:
  """The groups of a scene and the size of its picture."""

  groups: tuple[Group, ...]
  width: int
  height: int


def _centre(box: np.ndarray) -> tuple[float, float]:
  return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _direction(box: np.ndarray, other: np.ndarray) -> str | None:
  (x, y), (other_x, other_y) = _centre(box), _centre(other)
  dx, dy = x - other_x, y - other_y
  if abs(dx) >= _CLEARLY_MORE * abs(dy):
    return "left" if dx < 0 else "right"
  if abs(dy) >= _CLEARLY_MORE * abs(dx):
    return "above" if dy < 0 else "below"
  return None


def relation(group: Group, other: Group) -> str | None:
  """Returns where `group` is, seen from `other`; None where members differ."""
  seen = {_direction(a, b) for a in group.boxes for b in other.boxes}
  return seen.pop() if len(seen) == 1 else None


def place(group: Group, facts: Facts) -> tuple[str, str] | None:
  """Returns (row, column) of the ninth of the picture that holds the group."""
  cells = set()
  for box in group.boxes:
    x, y = _centre(box)
    row = ROWS[min(int(3 * y / facts.height), 2)]
    column = COLUMNS[min(int(3 * x / facts.width), 2)]
    cells.add((row, column))
  return cells.pop() if len(cells) == 1 else None


def _sizes(box: np.ndarray) -> tuple[float, float]:
  width, height = float(box[2] - box[0]), float(box[3] - box[1])
  return width * height, max(width, height)


def extreme(facts: Facts, *, biggest: bool) -> Group | None:
  """Returns the single object that is plainly the biggest (or smallest).

  Both its area and its longer side must be: nobody calls a long knife smaller
  than a mouse.
  """
  sizes = [(_sizes(box), g) for g in facts.groups for box in g.boxes]
  sizes.sort(key=lambda entry: entry[0], reverse=biggest)
  ((area, side), group), *others = sizes
  for (other_area, other_side), _ in others:
    pairs = ((area, other_area), (side, other_side))
    if not biggest:
      pairs = tuple((other, own) for own, other in pairs)
    (big, small), (long, short) = pairs
    if big < _CLEARLY_BIGGER * small or long <= short:
      return None
  return group if group.count == 1 else None
