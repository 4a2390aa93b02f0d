"""S5 and S6: texts on pages, and ids that look like paths."""

import dataclasses
import functools
import json

import numpy as np
from PIL import Image

from input_pipeline.annotations.load import load_captions
from input_pipeline.checks.gallery import find_image, write_gallery
from input_pipeline.export import write_lxmert_tsv, write_vilbert_lmdb
from input_pipeline.negatives.page import write_page
from input_pipeline.negatives.table import write_table
from input_pipeline.store.schema import Layout, check_record
from interbert_jax.app.ranking.ranking_file import RankedTopic, write_ranking
from interbert_jax.model.config import InterBertConfig
from interbert_jax.run.metric_writer import MetricWriter
from interbert_jax.weights import model_card
from tests.support.hostile_case import Case
from tests.support.tiny_data import make_record

TEXTS = {
  "<script>": "<script>alert(1)</script>",
  "end of an attribute": '"><img src=x onerror=alert(1)>',
  "end of a title": "</title></style><script>alert(1)</script>",
  "line breaks without a space": "a\nb\r<script>",
  "a name of 100,000 letters": "<b>" * 33_333,
  "template": "{{ 7 * 7 }}{% raw %}<b>",
}
IDS = {
  "../../etc/passwd": "../../etc/passwd",
  "absolute": "/etc/passwd",
  "the marker itself": "../side_effect",
  "a drive": "C:\\Windows\\x",
  "dots": "..",
  "very long": "x" * 5000,
}


def _is_escaped(page: str) -> str:
  """Says what is wrong with a page; "escaped" where nothing is."""
  if "default-src 'none'" not in page or "http-equiv" not in page:
    return "no policy"
  for tag in ("<script", "<img src=x", "</title></style>", "<b>"):
    if tag in page:
      return f"found {tag}"
  return "49" if ">49<" in page else "escaped"


def _gallery(
  root, *, image_id="a", caption="c", title="t", name="n", split="s"
):
  record = {**make_record(image_id), "num_regions": 3}
  path = write_gallery(
    root / "gallery",
    [record],
    captions={image_id: (split, [caption])},
    images=None,
    class_names=[name] * 5,
    background_class=None,
    title=title,
  )
  found = sorted(p.name for p in path.parent.iterdir())
  assert found == ["000.png", "index.html"], found
  return path.read_text("utf-8")


def _negatives(root, text):
  table = write_table(
    root / "table",
    [(np.array([[1], [0]], np.int32), np.ones((2, 1), np.float16))],
    kind="captions",
    fingerprint="f",
    items=2,
    per_item=1,
    about={text: text},
  )
  write_page(root / "page.html", table, [text, text], count=2)
  return _is_escaped((root / "page.html").read_text("utf-8"))


def _card(_, text):
  facts = dict.fromkeys(("step", "batch_size", "seed", "source"), text)
  facts |= {"vocab_sha256": text, "versions": {text: text}}
  facts["data_fingerprint"] = f"a\n\n# {text}"
  run = model_card.RunFacts(f"en\n{text}", text, ((text, 0.5, text),))
  card = model_card.render(
    InterBertConfig(), facts, run=run, num_params=1, weights_sha256="0"
  )
  whole = "\n# <" not in card and card.splitlines().count("---") == 2
  tags = any(tag in card for tag in ("<script", "<img", "<b>", "</title"))
  return "escaped" if whole and not tags else card


def _tensorboard(root, text):
  with MetricWriter(root, start_step=0) as writer:
    writer.write(1, {text: 1.0})
  (events,) = root.glob("events.*")
  # Scalars alone: TensorBoard renders Markdown of its text plugin only.
  return "text" if b"plugin" in events.read_bytes() else "scalars"


def _find(root, image_id):
  (root / "images").mkdir()
  Image.new("RGB", (4, 4)).save(root / "side_effect.png")
  (root / "images/link.png").symlink_to("/etc/hostname")
  found = find_image(root / "images", image_id)
  linked = find_image(root / "images", "link")
  return "nothing" if found is None and linked is None else str(found)


def _record(_, image_id):
  record = check_record(make_record(image_id), layout=Layout(6, 5))
  return "kept" if record["image_id"] == image_id else "changed"


@dataclasses.dataclass
class _Store:
  """As much of a store as its exporters read."""

  directory: object
  record: dict

  def __post_init__(self):
    self.manifest = {"background_class": None}

  def __len__(self):
    return 1

  def read(self, rows):
    return [self.record for _ in rows]


def _export(root, image_id):
  store = _Store(root, check_record(make_record(image_id), layout=Layout(6, 5)))
  write_lxmert_tsv(store, root / "a.tsv", lambda count: None)
  if len(image_id) < 500:  # LMDB's keys are no longer, which is an error
    write_vilbert_lmdb(store, root / "a.lmdb", lambda count: None)
  made = {p.name for p in root.rglob("*")}
  return str(made - {"a.tsv", "a.lmdb", "data.mdb", "lock.mdb"})


def _captions(root, image_id):
  line = {"image_id": image_id, "split": "train", "captions": ["x"]}
  (root / "a.jsonl").write_text(json.dumps(line))
  found = load_captions(root / "a.jsonl", "train").image_ids
  return "kept" if list(found) == [image_id] else "changed"


def _ranking(root, image_id, suffix):
  topic = RankedTopic(image_id, image_id, (image_id,), (0.5,))
  write_ranking(root / f"out{suffix}", [topic], {})
  return " ".join(sorted(p.name for p in root.iterdir()))


def _field(root, text, field):
  return _is_escaped(_gallery(root, **{field: text}))


# Place -> (function of (folder, text or id), what comes out where all is well).
PAGES = {
  f"gallery, {field}": (functools.partial(_field, field=field), "escaped")
  for field in ("image_id", "caption", "title", "name", "split")
} | {
  "page of negatives": (_negatives, "escaped"),
  "card of an export": (_card, "escaped"),
  "TensorBoard": (_tensorboard, "scalars"),
}
KEYS = {
  "gallery": (functools.partial(_field, field="image_id"), "escaped"),
  "image file of an id": (_find, "nothing"),
  "record of a store": (_record, "kept"),
  "export of a store": (_export, "set()"),
  "annotations": (_captions, "kept"),
} | {
  f"ranking{suffix}": (
    functools.partial(_ranking, suffix=suffix),
    "out.about.json out.",
  )
  for suffix in (".jsonl", ".csv")
}
CASES = [
  Case(
    row,
    place,
    payload,
    lambda root, marker, show=show, text=text: show(root, text),
    (word,),
    harmless=True,
  )
  for row, places, texts in (("S5", PAGES, TEXTS), ("S6", KEYS, IDS))
  for place, (show, word) in places.items()
  for payload, text in texts.items()
]
# Where an id enters, these are refused; the words are in the message.
CASES += [
  Case(
    "S6",
    place,
    payload,
    lambda root, marker, enter=enter, text=text: enter(root, text),
    words,
  )
  for place, enter in (
    ("record of a store", _record),
    ("annotations", _captions),
  )
  for payload, text, words in (
    ("NUL", "a\0b", ("NUL", "a\\x00b")),
    ("half a surrogate pair", "a\ud83d", ("valid Unicode", "a\\ud83d")),
  )
]
CASES.append(
  Case(
    "S6",
    "record of a store",
    "a line break",
    lambda root, marker: _record(root, "a\nb"),
    ("line break", "a\\nb"),
  )
)
