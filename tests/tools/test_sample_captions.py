"""Captions of the sample data, read back and held against their scenes."""

import collections
import re

import numpy as np
import pytest
from PIL import Image

from tools.sample_data.captions import write_captions
from tools.sample_data.nouns import count_zh
from tools.sample_data.objects import choose_objects
from tools.sample_data.scenes import SPLITS, make_scenes, scene_rng
from tools.sample_data.shapes import ShapesArtist


class BoxArtist:
  """Stands in for the artist of the font: the same nouns, plain boxes."""

  pale = 0.3

  def __init__(self):
    self.nouns = tuple(entry.noun for entry in choose_objects(150))

  def base_class(self, class_index):
    return class_index

  def long_side(self, class_index, rng):
    return int(rng.integers(50, 111))

  def draw(self, class_index, long_side):
    short = long_side * (40 + class_index % 61) // 100
    return Image.new("RGBA", (long_side, short), (90, 90, 90, 255))


ARTISTS = {"shapes": ShapesArtist(), "objects": BoxArtist()}


@pytest.fixture(scope="module", params=ARTISTS)
def captioned(request):
  """The nouns, and (split, scene, English, Chinese) of many scenes."""
  artist = ARTISTS[request.param]
  found = []
  for split in SPLITS:
    for index, scene in enumerate(make_scenes(artist, split, 120)):
      english, chinese = (
        write_captions(language, scene.facts, artist.nouns, rng)
        for language, rng in (
          ("en", scene_rng(0, split, index, 1)),
          ("zh", scene_rng(0, split, index, 2)),
        )
      )
      found.append((split, scene, english, chinese))
  return artist.nouns, found


# The reader: it knows the nouns, and no grammar of the writers.


class Reader:
  """Finds every mention of a class in a caption, with its number."""

  def __init__(self, nouns):
    self.by_name_en, self.by_name_zh = {}, {}
    for index, noun in enumerate(nouns):
      for names in noun.en:
        for name in names:
          self.by_name_en[name] = index
      for name in noun.zh:
        self.by_name_zh[name] = index
    self.nouns = nouns
    english = "|".join(
      re.escape(n) for n in sorted(self.by_name_en, key=len, reverse=True)
    )
    self.english = re.compile(
      rf"\b(an?|the two|the three|the|two|three) ({english})(?![\w-])"
    )
    chinese = sorted(self.by_name_zh, key=len, reverse=True)
    measured = "|".join(
      nouns[self.by_name_zh[n]].measure + re.escape(n) for n in chinese
    )
    names = "|".join(map(re.escape, chinese))
    side = "左边|左侧|右边|右侧|上面|上方|下面|下方"
    self.chinese = re.compile(
      rf"([一两三])({measured})|(?:(?<=^)|(?<=在))({names})(?=的?(?:{side})|在)"
    )

  def read_en(self, caption):
    numbers = {"two": 2, "three": 3}
    for m in self.english.finditer(caption):
      count = numbers.get(m[1].split()[-1], 1)
      index = self.by_name_en[m[2]]
      column = 0 if count == 1 else 1
      assert m[2] in {names[column] for names in self.nouns[index].en}, caption
      yield m.start(), m.end(), index, count

  def read_zh(self, caption):
    numbers = {"一": 1, "两": 2, "三": 3}
    for m in self.chinese.finditer(caption):
      if m[3]:
        yield m.start(3), m.end(3), self.by_name_zh[m[3]], 1
        continue
      name = next(
        n
        for n in sorted(self.by_name_zh, key=len, reverse=True)
        if m[2] == self.nouns[self.by_name_zh[n]].measure + n
      )
      yield m.start(), m.end(), self.by_name_zh[name], numbers[m[1]]


def _counts(scene):
  return collections.Counter(thing.class_index for thing in scene.objects)


def _true_mentions(read, caption, scene):
  """The mentions of all classes of a scene, each once with its number."""
  mentions = list(read(caption))
  assert len(mentions) == len(_counts(scene)), caption
  assert {m[2]: m[3] for m in mentions} == _counts(scene), caption
  return mentions


def _centres(scene, index):
  return [
    ((o.box[0] + o.box[2]) / 2, (o.box[1] + o.box[3]) / 2)
    for o in scene.objects
    if o.class_index == index
  ]


def _is_related(scene, index, other, direction):
  for x, y in _centres(scene, index):
    for other_x, other_y in _centres(scene, other):
      dx, dy = x - other_x, y - other_y
      sideways = abs(dx) > abs(dy)
      true = {
        "left": sideways and dx < 0,
        "right": sideways and dx > 0,
        "above": not sideways and dy < 0,
        "below": not sideways and dy > 0,
      }[direction]
      if not true:
        return False
  return True


def _is_at(scene, index, across, down):
  """Whether the objects are in a column and a row of ninths, 0 to 2."""
  for x, y in _centres(scene, index):
    if not across * 320 / 3 <= x <= (across + 1) * 320 / 3:
      return False
    if not down * 80 <= y <= (down + 1) * 80:
      return False
  return True


def _is_extreme(scene, index, sign):
  areas = [
    (sign * (o.box[2] - o.box[0]) * (o.box[3] - o.box[1]), o.class_index)
    for o in scene.objects
  ]
  return max(areas)[1] == index


RELATIONS_EN = {
  r"(?:to|on) the left of": "left",
  r"(?:to|on) the right of": "right",
  r"above|higher up than": "above",
  r"below|lower down than": "below",
}
PLACES_EN = {
  r"in the (?:top|upper) left corner": (0, 0),
  r"at the top": (1, 0),
  r"in the (?:top|upper) right corner": (2, 0),
  r"on the left side": (0, 1),
  r"in the (?:middle|center)": (1, 1),
  r"on the right side": (2, 1),
  r"in the (?:bottom|lower) left corner": (0, 2),
  r"at the bottom": (1, 2),
  r"in the (?:bottom|lower) right corner": (2, 2),
}
SIZES_EN = {
  r"^the (?:biggest|largest) thing is": 1,
  r"^the smallest thing is": -1,
  r"is the (?:biggest|largest) thing here": 1,
  r"is the smallest thing here": -1,
  r"that is bigger than": 1,
  r"that is smaller than": -1,
}


def _subject(mentions, match):
  """Returns the class said before the words, or after if they come first."""
  if match.start() == 0:
    return mentions[0][2]
  return [m for m in mentions if m[1] <= match.start()][-1][2]


def test_english_captions_are_true(captioned):
  nouns, found = captioned
  reader = Reader(nouns)
  said = {"relation": 0, "place": 0, "size": 0}
  for _, scene, captions, _ in found:
    for caption in captions:
      mentions = _true_mentions(reader.read_en, caption, scene)
      for pattern, direction in RELATIONS_EN.items():
        for match in re.finditer(pattern, caption):
          subject = _subject(mentions, match)
          other = [m for m in mentions if m[0] >= match.end()][0][2]
          assert _is_related(scene, subject, other, direction), caption
          said["relation"] += 1
      for pattern, (across, down) in PLACES_EN.items():
        for match in re.finditer(pattern, caption):
          assert _is_at(scene, _subject(mentions, match), across, down), caption
          said["place"] += 1
      for pattern, sign in SIZES_EN.items():
        for match in re.finditer(pattern, caption):
          assert _is_extreme(scene, _subject(mentions, match), sign), caption
          said["size"] += 1
  assert min(said.values()) > len(found) / 3, said


RELATIONS_ZH = {
  "左边|左侧": "left",
  "右边|右侧": "right",
  "上面|上方": "above",
  "下面|下方": "below",
}
PLACES_ZH = dict(
  zip(
    (
      *("左上角", "上方|顶部", "右上角", "左边|左侧", "中间|中央"),
      *("右边|右侧", "左下角", "下方|底部", "右下角"),
    ),
    PLACES_EN.values(),
    strict=True,
  )
)


def test_chinese_captions_are_true(captioned):
  nouns, found = captioned
  reader = Reader(nouns)
  said = {"relation": 0, "place": 0, "size": 0}
  for _, scene, _, captions in found:
    for caption in captions:
      mentions = _true_mentions(reader.read_zh, caption, scene)
      # Every mention becomes a digit: what is left is the frame.
      frame, last = "", 0
      for number, (start, end, _, _) in enumerate(mentions):
        frame += caption[last:start] + str(number)
        last = end
      frame += caption[last:]
      who = [m[2] for m in mentions]
      for pattern, direction in RELATIONS_ZH.items():
        if m := re.match(rf"0的?(?:{pattern})[有是]1", frame):
          assert _is_related(scene, who[1], who[0], direction), caption
          said["relation"] += 1
        if m := re.match(rf"0在1的(?:{pattern})", frame):
          assert _is_related(scene, who[0], who[1], direction), caption
          said["relation"] += 1
      for pattern, (across, down) in PLACES_ZH.items():
        for m in re.finditer(
          rf"(?:^|，|图片)(?:{pattern})[有是](\d)|(\d)在图片的(?:{pattern})",
          frame,
        ):
          subject = who[int(m[1] or m[2])]
          assert _is_at(scene, subject, across, down), caption
          said["place"] += 1
      for word, sign in (("大", 1), ("小", -1)):
        for m in re.finditer(rf"最{word}的是(\d)|(\d)，比.*{word}$", frame):
          assert _is_extreme(scene, who[int(m[1] or m[2])], sign), caption
          said["size"] += 1
  assert min(said.values()) > len(found) / 3, said


def test_five_different_captions(captioned):
  for _, _, english, chinese in captioned[1]:
    assert len(english) == len(set(english)) == 5
    assert len(chinese) == len(set(chinese)) == 5


def test_splits_share_no_caption(captioned):
  owner = {}
  for split, _, english, chinese in captioned[1]:
    for caption in english + chinese:
      assert owner.setdefault(caption, split) == split, caption


def test_captions_are_repeatable(captioned):
  nouns, found = captioned
  _, scene, english, chinese = found[3]
  facts = scene.facts

  def again(language, seed, purpose):
    rng = scene_rng(seed, "train", 3, purpose)
    return write_captions(language, facts, nouns, rng)

  assert again("en", 0, 1) == english
  assert again("zh", 0, 2) == chinese
  assert again("en", 1, 1) != english


def test_two_in_chinese(captioned):
  twos = 0
  for _, scene, _, chinese in captioned[1]:
    assert not any("二" in caption for caption in chinese)
    if 2 in _counts(scene).values():
      twos += 1
      assert all("两" in caption for caption in chinese)
  assert twos > 20
  assert count_zh("老虎", "只", 2) == "两只老虎"


def test_captions_draw_on_all_synonyms():
  nouns = ARTISTS["objects"].nouns
  rabbit = next(i for i, n in enumerate(nouns) if n.en[0][0] == "rabbit")
  facts = next(
    s.facts
    for s in make_scenes(ARTISTS["objects"], "train", 600)
    if any(g.class_index == rabbit for g in s.facts.groups)
  )
  text = " ".join(
    caption
    for seed in range(8)
    for caption in write_captions(
      "en", facts, nouns, np.random.default_rng(seed)
    )
  )
  wanted = {"rabbit", "bunny"} | {"rabbits", "bunnies"}
  assert len(wanted & set(re.findall(r"\w+", text))) >= 2
