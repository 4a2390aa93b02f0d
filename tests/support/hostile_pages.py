"""S5 and S6: texts on pages, and ids that look like paths."""

import dataclasses
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

CASES: list[Case] = []
SCRIPT = "<script>alert(1)</script>"
TEXTS = {
  "<script>": SCRIPT,
  "end of an attribute": '"><img src=x onerror=alert(1)>',
  "end of a title": "</title></style><script>alert(1)</script>",
  "line breaks without a space": "a\nb\r<script>",
  "a name of 100,000 letters": "<b>" * 33_333,
  "template": "{{ 7 * 7 }}{% raw %}<b>",
}
IDS = {
  "../../etc/passwd": "../../etc/passwd",
  "absolute": "/etc/passwd",
  "NUL": "a\0b",
  "the marker itself": "../side_effect",
  "a drive": "C:\\Windows\\x",
  "dots": "..",
  "very long": "x" * 5000,
}


def _add(row, place, payload, attempt, *words, harmless=True):
  CASES.append(Case(row, place, payload, attempt, words, harmless))


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


for _payload, _text in TEXTS.items():
  for _field in ("image_id", "caption", "title", "name", "split"):
    _add(
      "S5",
      f"gallery, {_field}",
      _payload,
      lambda root, _, field=_field, text=_text: _is_escaped(
        _gallery(root, **{field: text})
      ),
      "escaped",
    )

  def _negatives(root, marker, text=_text):
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

  _add("S5", "page of negatives", _payload, _negatives, "escaped")

  def _card(root, marker, text=_text):
    facts = {
      key: text
      for key in ("step", "batch_size", "seed", "source", "vocab_sha256")
    }
    facts |= {"versions": {text: text}, "data_fingerprint": f"a\n\n# {text}"}
    run = model_card.RunFacts(f"en\n{text}", text, ((text, 0.5, text),))
    card = model_card.render(
      InterBertConfig(), facts, run=run, num_params=1, weights_sha256="0"
    )
    lines = card.splitlines()
    whole = "\n# <" not in card and lines.count("---") == 2
    tags = any(tag in card for tag in ("<script", "<img", "<b>", "</title"))
    return "escaped" if whole and not tags else card

  _add("S5", "card of an export", _payload, _card, "escaped")

  def _tensorboard(root, marker, text=_text):
    with MetricWriter(root, start_step=0) as writer:
      writer.write(1, {text: 1.0})
    (events,) = root.glob("events.*")
    # Scalars alone: TensorBoard renders Markdown of its text plugin only.
    return "text" if b"plugin" in events.read_bytes() else "scalars"

  _add("S5", "TensorBoard", _payload, _tensorboard, "scalars")


for _payload, _id in IDS.items():
  _add(
    "S6",
    "gallery",
    _payload,
    lambda root, _, image_id=_id: _is_escaped(
      _gallery(root, image_id=image_id)
    ),
    "escaped",
  )

  def _find(root, marker, image_id=_id):
    (root / "images").mkdir()
    Image.new("RGB", (4, 4)).save(root / "side_effect.png")
    (root / "images/link.png").symlink_to("/etc/hostname")
    found = find_image(root / "images", image_id)
    linked = find_image(root / "images", "link")
    return "nothing" if found is None and linked is None else str(found)

  _add("S6", "image file of an id", _payload, _find, "nothing")

  def _record(root, marker, image_id=_id):
    record = check_record(make_record(image_id), layout=Layout(6, 5))
    return "kept" if record["image_id"] == image_id else "changed"

  _add("S6", "record of a store", _payload, _record, "kept")

  def _export(root, marker, image_id=_id):
    record = check_record(make_record(image_id), layout=Layout(6, 5))
    store = _Store(root, record)
    write_lxmert_tsv(store, root / "a.tsv", lambda count: None)
    if len(image_id) < 500:  # LMDB's keys are no longer, which is an error
      write_vilbert_lmdb(store, root / "a.lmdb", lambda count: None)
    made = {p.name for p in root.rglob("*")}
    return str(made - {"a.tsv", "a.lmdb", "data.mdb", "lock.mdb"})

  _add("S6", "export of a store", _payload, _export, "set()")

  def _captions(root, marker, image_id=_id):
    line = {"image_id": image_id, "split": "train", "captions": ["x"]}
    (root / "a.jsonl").write_text(json.dumps(line))
    return load_captions(root / "a.jsonl", "train").image_ids[0]

  _add("S6", "annotations", _payload, _captions, _id)

  for _suffix in (".jsonl", ".csv"):

    def _ranking(root, marker, image_id=_id, suffix=_suffix):
      topic = RankedTopic(image_id, image_id, (image_id,), (0.5,))
      write_ranking(root / f"out{suffix}", [topic], {})
      return " ".join(sorted(p.name for p in root.iterdir()))

    _add("S6", f"ranking{_suffix}", _payload, _ranking, "out.about.json out.")


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


_add(
  "S6",
  "record of a store",
  "a line break",
  lambda root, _: check_record(make_record("a\nb"), layout=Layout(6, 5)),
  "line break",
  "a\\nb",
  harmless=False,
)
