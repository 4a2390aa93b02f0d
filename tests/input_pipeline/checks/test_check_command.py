"""python -m input_pipeline.check: its statuses, its JSON and its pictures."""

import html
import json

import numpy as np
import pytest
from PIL import Image

from input_pipeline import check
from input_pipeline.checks import gallery
from interbert_jax.contract import json_file
from tests.support.scripts import run_python
from tests.support.tiny_data import (
  C,
  caption_line,
  make_record,
  write_lines,
  write_tiny_store,
  write_vocab,
)

COUNT = 6
TEXT = "a dog runs on the red <script>alert(1)</script> cat"


@pytest.fixture
def root(tmp_path):
  records = [
    make_record(f"im{i}", regions=2 + i % 3, seed=i) for i in range(COUNT)
  ]
  write_tiny_store(tmp_path / "store", records, background_class=0)
  write_lines(
    tmp_path / "caps.jsonl",
    [caption_line(f"im{i}", f"{TEXT} {i}") for i in range(COUNT)],
  )
  write_vocab(tmp_path / "vocab.txt")
  (tmp_path / "names.txt").write_text("person,human\ndog\ncat\n<b>bird</b>\n")
  return tmp_path


def run(root, *flags, annotations="caps.jsonl"):
  return check.main(
    [
      f"--store={root / 'store'}",
      f"--annotations={root / annotations}",
      *flags,
    ]
  )


def test_a_sound_store(root, capsys):
  assert run(root, f"--vocab={root / 'vocab.txt'}", "--batch_size=3") == 0
  text = capsys.readouterr().out
  assert "regions per image" in text
  assert text.splitlines()[-1].startswith("ok: ")


def test_errors_give_status_1_and_all_missing_ids(root, capsys):
  strangers = [caption_line(f"no{i}", "a dog") for i in range(30)]
  lines = json_file.read_rows(root / "caps.jsonl")
  write_lines(root / "more.jsonl", [*lines, *strangers])
  output = root / "found" / "check.json"
  assert run(root, f"--output={output}", annotations="more.jsonl") == 1
  content = json.loads(output.read_text())
  assert content["ok"] is False
  finding = next(f for f in content["findings"] if f["case"] == "D12")
  assert (finding["count"], finding["image_id"]) == (30, "no0")
  assert finding["file"] == str(root / "more.jsonl")
  assert content["summary"]["captions, train"]["images"] == COUNT
  ids = (output.parent / "missing_ids.txt").read_text().splitlines()
  assert ids == [f"no{i}" for i in range(30)]
  text = capsys.readouterr().out
  assert "error    D12" in text
  assert text.splitlines()[-1].startswith("NOT OK: 1 kind of error")


def test_captions_that_are_not_there_are_findings(root, capsys):
  assert run(root, annotations="none.jsonl") == 1
  said = capsys.readouterr().out
  assert "found no such file" in said and "none.jsonl" in said
  assert run(root, "--splits=dev,train", "--batch_size=999") == 1
  said = capsys.readouterr().out
  assert "found no split 'dev'; the file has 'train'" in said
  assert "wanted at least one batch of 999" in said


def test_what_cannot_run_gives_status_2(root, capsys):
  assert check.main([f"--store={root / 'none'}"]) == 2
  assert "wanted a region store" in capsys.readouterr().err
  with pytest.raises(SystemExit, match="2"):
    run(root, "--batch_size=0")


def test_a_staged_copy_is_not_taken_for_the_store(root, capsys):
  from input_pipeline.store.region_store import RegionStore
  from input_pipeline.store.staged_writer import stage

  stage(RegionStore(root / "store"), root / "copy", max_regions=3)
  assert check.main([f"--store={root / 'copy'}"]) == 2
  assert "a staged copy, wanted the region store" in capsys.readouterr().err


def test_help_answers_at_once():
  done = run_python("-X", "importtime", "-m", "input_pipeline.check", "-h")
  assert done.returncode == 0
  assert "--draw" in done.stdout
  imported = {
    line.rpartition("|")[2].strip() for line in done.stderr.split("\n")
  }
  assert not imported & {"numpy", "tensorflow", "jinja2"}


def drawn(root, *flags):
  page = root / "page"
  names = f"--class_names={root / 'names.txt'}"
  assert run(root, "--draw=4", f"--draw_to={page}", names, *flags) == 0
  return page, (page / "index.html").read_text("utf-8")


def test_the_page(root, capsys):
  page, text = drawn(root)
  assert str(page / "index.html") in capsys.readouterr().out
  assert sorted(p.name for p in page.glob("*.png")) == [
    f"00{i}.png" for i in range(4)
  ]
  assert text.count("<article>") == 4
  # Captions are nobody's we know: shown, never run.
  assert "<script" not in text
  assert html.escape(TEXT, quote=False) in text
  assert "default-src 'none'" in text
  assert "Without --images they are drawn on grey." in text
  colors = Image.open(page / "000.png").convert("RGB").getcolors(1 << 20)
  assert gallery._GREY in {color for _, color in colors}


def test_names_of_classes(root):
  record = make_record("a", regions=3, seed=1)
  probs = np.full((3, C), 0.1, np.float16)
  probs[0, 0], probs[1, 2], probs[2, 4] = 0.9, 0.8, 0.7  # 0 is the background
  names = gallery.read_class_names(root / "names.txt")
  record |= {"class_probs": probs, "num_regions": 3}
  labels = gallery._labels(record, names, 0)
  assert labels == ["person 0.10", "dog 0.80", "<b>bird</b> 0.70"]
  del record["class_probs"]
  record["class_ids"] = np.array([2, 0, 7])
  assert gallery._labels(record, names, 0) == ["cat", "person", "class 7"]
  del record["class_ids"]
  assert gallery._labels(record, names, 0) is None


def test_images_are_found_by_id_and_only_in_their_folder(root):
  folder = root / "images"
  (folder / "val").mkdir(parents=True)
  Image.new("RGB", (10, 10), (255, 0, 0)).save(folder / "im0.jpg")
  Image.new("RGB", (10, 10)).save(folder / "val/000000000007.png")
  Image.new("RGB", (10, 10)).save(folder / "000000000009.jpg")
  Image.new("RGB", (10, 10)).save(root / "secret.png")
  (folder / "link.png").symlink_to(root / "secret.png")
  assert gallery.find_image(folder, "im0") == (folder / "im0.jpg").resolve()
  assert gallery.find_image(folder, "val/000000000007").name.endswith("7.png")
  assert gallery.find_image(folder, "9").name == "000000000009.jpg"
  for image_id in (
    "../secret",
    "link",
    str(root / "secret"),
    "a\0b",
    "x" * 999,
  ):
    assert gallery.find_image(folder, image_id) is None
  page, text = drawn(root, f"--images={folder}", "--draw=6")
  assert "1 image files were found." in text
  colours = [
    {c for _, c in Image.open(path).getcolors(1 << 20)}
    for path in page.glob("*.png")
  ]
  assert sum(bool({(254, 0, 0), (255, 0, 0)} & c) for c in colours) == 1


def test_an_image_that_cannot_be_read_is_named(root, capsys):
  folder = root / "images"
  folder.mkdir()
  for i in range(COUNT):
    (folder / f"im{i}.jpg").write_bytes(b"no picture")
  assert run(root, "--draw=1", f"--images={folder}") == 2
  text = capsys.readouterr().err
  assert ".jpg: not readable as image" in text
  assert str(folder) in text


def test_captions_in_the_pictures(root, monkeypatch):
  """Latin ones as they are; Chinese ones need a font."""
  seen = []
  plain = gallery.draw_record

  def draw_record(record, **options):
    seen.append((options["caption"], options["font"]))
    return plain(record, **{**options, "font": None})

  monkeypatch.setattr(gallery, "draw_record", draw_record)
  records = [{**make_record("a", seed=1), "num_regions": 3}]
  options = {"images": None, "class_names": None, "background_class": 0}
  for texts, font in (
    (["a dog"], None),
    (["一只狗", "a dog"], None),
    (["一只狗"], None),
    (["一只狗"], "font.otf"),
  ):
    gallery.write_gallery(
      root / "page",
      records,
      captions={"a": ("train", texts)},
      title="t",
      font=font,
      **options,
    )
    assert texts[0] in (root / "page/index.html").read_text("utf-8")
  assert seen == [
    ("a dog", None),
    ("a dog", None),
    (None, None),
    ("一只狗", "font.otf"),
  ]
  options = {"photo": None, "class_names": None, "background_class": 0}
  with_caption = plain(records[0], caption="a dog", **options)
  without = plain(records[0], **options)
  assert with_caption.height > without.height
