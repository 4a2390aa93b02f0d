"""Chinese captions of a scene: several grammars, all of them true."""

from collections.abc import Sequence

import numpy as np

from tools.sample_data import facts as facts_lib
from tools.sample_data.facts import Facts, Group
from tools.sample_data.frames import choose, collect, order_groups, split_off
from tools.sample_data.nouns import Noun, count_zh

RELATIONS = {
  "left": ("左边", "左侧"),
  "right": ("右边", "右侧"),
  "above": ("上面", "上方"),
  "below": ("下面", "下方"),
}
PLACES = {
  ("top", "left"): ("左上角",),
  ("top", "middle"): ("上方", "顶部"),
  ("top", "right"): ("右上角",),
  ("middle", "left"): ("左边", "左侧"),
  ("middle", "middle"): ("中间", "中央"),
  ("middle", "right"): ("右边", "右侧"),
  ("bottom", "left"): ("左下角",),
  ("bottom", "middle"): ("下方", "底部"),
  ("bottom", "right"): ("右下角",),
}


class ChineseFrames:
  """The grammars; each returns one caption, or None where none is true.

  Every caption names every group with its count, so that a caption belongs to
  one combination of objects. A bare noun is one object that is known already.
  """

  def __init__(
    self, facts: Facts, nouns: Sequence[Noun], rng: np.random.Generator
  ):
    self.facts = facts
    self.nouns = nouns
    self.rng = rng

  def _phrase(self, group: Group) -> str:
    noun = self.nouns[group.class_index]
    return count_zh(choose(self.rng, noun.zh), noun.measure, group.count)

  def _known(self, group: Group) -> str:
    if group.count > 1:
      return self._phrase(group)
    return choose(self.rng, self.nouns[group.class_index].zh)

  def _list(self, groups: Sequence[Group]) -> str:
    phrases = [self._phrase(group) for group in groups]
    if len(phrases) == 1:
      return phrases[0]
    return "、".join(phrases[:-1]) + "和" + phrases[-1]

  def _rest(self, groups: Sequence[Group]) -> str:
    """Returns the end of a sentence that names the remaining groups."""
    if not groups:
      return ""
    words = choose(self.rng, ("还有", "图中还有", "另外还有"))
    return f"，{words}{self._list(groups)}"

  def listing(self) -> str:
    groups = order_groups(self.rng, self.facts)
    listed = self._list(groups)
    first, rest = self._phrase(groups[0]), self._list(groups[1:])
    return choose(
      self.rng, (listed, listed, f"有{listed}", f"{first}，还有{rest}")
    )

  def presence(self) -> str:
    listed = self._list(order_groups(self.rng, self.facts))
    return choose(
      self.rng,
      (
        f"图中有{listed}",
        f"图片里有{listed}",
        f"画面上有{listed}",
        f"这张图上画着{listed}",
        f"一张画着{listed}的图片",
        f"可以看到{listed}",
      ),
    )

  def relation(self) -> str | None:
    group, other, *rest = order_groups(self.rng, self.facts)
    direction = facts_lib.relation(group, other)
    if direction is None:
      return None
    words = choose(self.rng, RELATIONS[direction])
    tail = self._rest(rest)
    return choose(
      self.rng,
      (
        f"{self._known(other)}的{words}有{self._phrase(group)}{tail}",
        f"{self._known(other)}{words}是{self._phrase(group)}{tail}",
        f"{self._phrase(group)}在{self._known(other)}的{words}{tail}",
        f"{self._known(group)}在{self._known(other)}的{words}{tail}",
      ),
    )

  def position(self) -> str | None:
    groups = order_groups(self.rng, self.facts)
    group, rest = groups[0], groups[1:]
    cell = facts_lib.place(group, self.facts)
    if cell is None:
      return None
    where = choose(self.rng, PLACES[cell])
    second = facts_lib.place(rest[0], self.facts)
    if second not in (None, cell) and self.rng.random() < 0.4:
      return (
        f"{where}有{self._phrase(group)}，"
        f"{choose(self.rng, PLACES[second])}有{self._phrase(rest[0])}"
        f"{self._rest(rest[1:])}"
      )
    phrase, tail = self._phrase(group), self._rest(rest)
    return choose(
      self.rng,
      (
        f"{where}有{phrase}{tail}",
        f"图片{where}是{phrase}{tail}",
        f"{phrase}在图片的{where}{tail}",
      ),
    )

  def size(self) -> str | None:
    biggest = bool(self.rng.random() < 0.7)
    group = facts_lib.extreme(self.facts, biggest=biggest)
    if group is None:
      return None
    rest = split_off(order_groups(self.rng, self.facts), group)
    word = "大" if biggest else "小"
    return choose(
      self.rng,
      (
        f"最{word}的是{self._phrase(group)}{self._rest(rest)}",
        f"图中最{word}的是{self._phrase(group)}，还有{self._list(rest)}",
        f"{self._phrase(group)}，比{self._list(rest)}都{word}"
        if len(rest) > 1 or rest[0].count > 1
        else f"{self._phrase(group)}，比{self._phrase(rest[0])}{word}",
      ),
    )


def captions_zh(
  facts: Facts, nouns: Sequence[Noun], rng: np.random.Generator
) -> list[str]:
  """Returns five different true captions; `nouns` is by class index."""
  return collect(ChineseFrames(facts, nouns, rng))
