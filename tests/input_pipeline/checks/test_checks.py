"""Every check finds its planted fault, and a sound store passes all of them.

The commonest faults are in tests/support/bad_input.py, with what training says.
"""

import json

import numpy as np
import pytest

from input_pipeline.annotations.load import load_captions
from input_pipeline.checks.annotation_file import SplitCaptions
from input_pipeline.checks.run import fast_checks, run_checks
from input_pipeline.checks.settings import CheckSettings
from input_pipeline.store import schema
from input_pipeline.store.store_writer import write_store
from input_pipeline.text.tokenizer import Tokenizer
from tests.support.bad_input import (
  caption_lines,
  put,
  records,
  write_faulty_store,
)
from tests.support.tiny_data import (
  C,
  E,
  edit_manifest,
  flip,
  make_record,
  write_lines,
  write_tiny_store,
  write_vocab,
)
from tests.support.tiny_questions import vcr_question


@pytest.fixture
def files(tmp_path):
  write_tiny_store(tmp_path / "store", records(), records_per_shard=5)
  return {
    "store": tmp_path / "store",
    "captions": write_lines(tmp_path / "caps.jsonl", caption_lines()),
    "vocab": write_vocab(tmp_path / "vocab.txt"),
  }


def check(files, splits=None, **checks):
  return run_checks(
    files["store"],
    annotations=[files["captions"]],
    splits=splits,
    vocab=files["vocab"],
    settings=CheckSettings(**checks),
  ).report


def found(report, case, severity=None):
  """The finding of this case; there must be exactly one."""
  severities = (severity,) if severity else ("error", "warning", "note")
  matching = [
    f for f in report.findings if f.case == case and f.severity in severities
  ]
  assert len(matching) == 1, report.to_text()
  return matching[0]


def test_a_sound_store_has_no_findings(files):
  report = check(files, batch_size=4, devices=2)
  assert report.ok
  assert report.findings == [], report.to_text()
  summary = report.summary
  assert summary["regions per image"] == {
    "min": 2,
    "mean": 3,
    "max": 4,
    "histogram": {"2-10": 12},
  }
  features = np.concatenate([r["features"] for r in records()])
  assert summary["features"]["mean"] == pytest.approx(
    features.astype(float).mean(), abs=1e-3
  )
  assert summary["features"]["std"] == pytest.approx(
    features.astype(float).std(), rel=1e-3
  )
  boxes = [
    (r["boxes"][:, 2:] - r["boxes"][:, :2]) / [r["width"], r["height"]]
    for r in records()
  ]
  share = np.concatenate(boxes)
  assert summary["boxes"]["mean_width"] == pytest.approx(share[:, 0].mean())
  assert summary["boxes"]["mean_area"] == pytest.approx(share.prod(1).mean())
  assert summary["sums of class_probs"]["mean"] == pytest.approx(1, abs=1e-3)
  train = summary["captions, train"]
  assert (train["images"], train["captions"]) == (8, 8)
  assert train["share_of_unknown"] == 0
  words = [len(line["captions"][0].split()) for line in caption_lines()[:8]]
  assert train["length"]["mean"] == pytest.approx(np.mean(words))
  assert sum(train["length_histogram"].values()) == 8
  assert summary["ids"] == {
    "images of the store": 12,
    "captioned images": 12,
    "captioned, not in the store": 0,
  }
  assert report.to_text().endswith("ok: nothing")


# D1 and D2: files


def shard_files(files):
  return sorted(files["store"].glob("*.array_record-*"))


def test_d1_a_flipped_bit(files):
  path = shard_files(files)[1]
  flip(path, path.read_bytes().index(b"im6"))
  report = check(files)
  assert not report.ok
  finding = next(f for f in report.findings if "sha256" in f.found)
  assert finding.case == "D1"
  assert finding.file == str(path)
  # The records in the damaged block are named, all other shards are read.
  record = next(f for f in report.findings if f.wanted == "a readable record")
  assert (record.case, record.file) == ("D1", str(path))
  assert record.image_id == f"im{5 + record.record}"
  read = report.summary["store"]["images read"]
  assert read == 12 - record.count >= 7


def test_d2_counts_that_disagree(files):
  edit_manifest(files["store"], lambda m: m["shards"][0].update(records=4))
  report = check(files)
  found_in = {f.found for f in report.findings if f.case == "D2"}
  assert "11 records in all shards instead of 12 images" in found_in
  assert "5 records instead of 4" in found_in
  assert "12 ids" in found_in


def test_d2_the_other_shards_are_read(files):
  first, second, _ = shard_files(files)
  first.unlink()
  second.write_bytes(b"")
  assert check(files).summary["store"]["images read"] == 2


@pytest.mark.parametrize(
  ("content", "words", "field"),
  [
    (None, "a directory that has no manifest.json", None),
    (b"{", "not readable as JSON", None),
    (b"[]", "None", "schema_version"),
    (b'{"schema_version": 1}', "1", "schema_version"),
    (b'{"schema_version": 2}', "None", "shards"),
  ],
)
def test_d2_manifests(content, words, field, files):
  path = files["store"] / "manifest.json"
  path.unlink()
  if content is not None:
    path.write_bytes(content)
  report = check(files)
  findings = [f for f in report.findings if f.case == "D2" and f.field == field]
  assert findings[0].found.startswith(words)
  assert findings[0].file == str(path if content else files["store"])
  # The captions are checked all the same.
  assert report.summary["captions, train"]["captions"] == 8


def test_d2_an_edited_manifest(files):
  path = files["store"] / "manifest.json"
  path.write_text(path.read_text().replace('"random"', '"other"'))
  assert found(check(files), "D2").found == (
    "another one: the manifest was edited"
  )


# D3 to D7, D10: records that the writer would refuse


@pytest.fixture
def plant(tmp_path):
  """Writes a store of records with faults, past the writer's checks."""

  def write(*changes, count=12, **options):
    """changes: (number of a record, {field: value or function of it})."""
    rows = records(count)
    for number, fields in changes:
      for field, value in fields.items():
        old = rows[number].get(field)
        rows[number][field] = value(old) if callable(value) else value
    write_faulty_store(tmp_path / "planted", rows, **options)
    captions = write_lines(tmp_path / "caps.jsonl", caption_lines(count))
    return {
      "store": tmp_path / "planted",
      "captions": captions,
      "vocab": write_vocab(tmp_path / "vocab.txt"),
    }

  return write


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_d3_numbers_that_are_none(value, plant):
  report = check(plant((4, {"features": put((1, 3), value)})))
  finding = found(report, "D3")
  assert finding.severity == "error"
  assert finding.field == "features"
  assert (finding.image_id, finding.record) == ("im4", 4)
  name = "NaN" if np.isnan(value) else "infinity"
  assert finding.found.startswith(
    f"{name}, 1 of {E} values, in region 1, box ["
  )
  assert np.isfinite(report.summary["features"]["mean"])


@pytest.mark.parametrize(
  ("field", "value", "words"),
  [
    (
      "features",
      lambda f: np.concatenate([f, f[:1]]),
      "48 bytes for 3 regions, which are 4 regions",
    ),
    ("boxes", lambda b: b[:2], "32 bytes for 3 regions, which are 2 regions"),
  ],
)
def test_d4_widths_and_rows(field, value, words, plant):
  report = check(plant((4, {field: value, "num_regions": 3})))
  finding = found(report, "D4")
  assert (finding.image_id, finding.field) == ("im4", field)
  assert finding.found.startswith(words)
  assert report.summary["store"]["images read"] == 11


def test_d4_float32_in_a_float16_store(plant, monkeypatch):
  files = plant()
  layout = schema.Layout.from_manifest(
    json.loads((files["store"] / "manifest.json").read_text())
  )
  from input_pipeline.checks.shard_records import diagnose

  record = {**records()[0], "num_regions": 2}
  record["features"] = record["features"].astype(np.float32)
  raw = schema.serialise(record, layout)
  field, text, _ = diagnose(raw, layout)
  assert field == "features"
  assert "looks like float32" in text


def test_d6_more_regions_than_slots(files):
  finding = found(check(files, max_regions=3), "D6")
  assert (finding.severity, finding.count) == ("note", 4)
  edit_manifest(files["store"], lambda m: m.update(region_order="as stored"))
  hint = found(check(files, max_regions=3), "D6").hint
  assert hint == "batches keep the first ones (as stored)"


def boxes_of(number, change):
  return number, {"boxes": change}


@pytest.mark.parametrize(
  ("change", "words"),
  [
    (put((0, 2), 0), "wanted x1 < x2 and y1 < y2"),
    (
      lambda b: np.array([[0.1, 0.1, 0.5, 0.9]] * len(b), np.float32),
      "wanted pixels of the image, not 0..1",
    ),
  ],
)
def test_d7_boxes(change, words, plant):
  finding = found(check(plant(boxes_of(5, change))), "D7")
  assert words in finding.to_lines()[0]
  assert (finding.severity, finding.image_id) == ("error", "im5")
  assert "%" in finding.hint  # the rate


def test_d7_a_few_bad_boxes_are_a_warning(plant):
  files = plant(boxes_of(5, put((0, 2), 0)), count=60)
  finding = found(check(files), "D7")
  assert finding.severity == "warning"
  assert finding.hint == "1 of 180 boxes, 0.6%"


def test_d7_swapped_sizes_are_named(plant):
  def wide(boxes):
    return np.array([[100, 10, 390, 90]] * len(boxes), np.float32)

  changes = {"boxes": wide, "width": 100, "height": 400}
  report = check(plant(*((i, changes) for i in range(12))))
  assert "looks like swapped" in found(report, "D7").hint


def test_d10_class_ids(files, tmp_path, monkeypatch):
  rows = records()
  for row in rows:
    del row["class_probs"]
    row["class_ids"] = np.arange(len(row["features"]), dtype=np.int32)
  rows[3]["class_ids"][1] = -1
  about = {"feature_dim": E, "source": "random", "extractor": "none"}
  with monkeypatch.context() as patch:
    patch.setattr(
      schema,
      "check_record",
      lambda record, **_: {"num_regions": len(record["features"]), **record},
    )
    write_store(tmp_path / "ids", rows, optional=("class_ids",), **about)
  finding = found(check({**files, "store": tmp_path / "ids"}), "D10")
  assert (finding.image_id, finding.field) == ("im3", "class_ids")
  assert finding.found == "-1 in region 1"


@pytest.mark.parametrize(
  ("value", "severity", "words"),
  [
    (0.1, "warning", "a missing background column"),
    (0.3, "warning", "independent scores"),
    (-3.0, "error", "these look like logits"),
  ],
)
def test_probabilities(value, severity, words, plant):
  probs = {"class_probs": lambda old: np.full_like(old, value)}
  finding = found(check(plant((7, probs))), "probs")
  assert (finding.severity, finding.image_id) == (severity, "im7")
  assert words in finding.hint


def test_regions_of_zeros(plant):
  finding = found(check(plant((7, {"features": put(1, 0)}))), "zeros")
  assert finding.severity == "warning"
  assert finding.found == "only zeros in region 1"
  assert finding.image_id == "im7"


# D8, D9, D11 to D14: captions


def captions_with(files, *changes, extra=()):
  lines = caption_lines()
  for number, fields in changes:
    lines[number].update(fields)
  write_lines(files["captions"], [*lines, *extra])
  return files


@pytest.mark.parametrize(
  ("captions", "words"),
  [
    (["dog"], "1 pieces, 'dog', wanted more than one"),
    (["a dog " * 300], "600 pieces"),
  ],
)
def test_d8_captions(captions, words, files):
  report = check(captions_with(files, (1, {"captions": captions})))
  finding = found(report, "D8", "warning")
  assert words in finding.to_lines()[0]
  assert finding.image_id == "im1"
  assert report.summary["captions, train"]["images"] == 8


def test_d8_a_path_with_the_words_of_a_remedy(files, tmp_path):
  """They are no advice: what has been tried is not tried for ever."""
  folder = tmp_path / "images is in, on_bad_caption=skip"
  folder.mkdir()
  files["captions"] = folder / "caps.jsonl"
  files["captions"].write_text("no JSON\n")
  report = check(files)
  assert not report.ok and "invalid JSON" in report.to_text()


def test_d8_truncation_is_counted(files):
  report = check(files, max_text_length=8)
  finding = found(report, "D8", "note")
  lengths = [len(line["captions"][0].split()) for line in caption_lines()]
  long = sum(length > 6 for length in lengths[:8])
  assert report.summary["captions, train"]["cut_off"] == long > 0
  assert finding.count == sum(length > 6 for length in lengths)


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\x85", "\ufffd"])
def test_d9_control_characters(character, files):
  captions = [f"a dog{character} runs"]
  report = check(captions_with(files, (1, {"captions": captions})))
  finding = found(report, "D9")
  assert finding.severity == "warning"
  assert finding.found.startswith(f"U+{ord(character):04X} in ")


def test_d9_text_that_is_fine(files):
  captions = ["a dog\u2028runs", "the　ＤＯＧ sits", "a 😀 dog", "a\tdog"]
  report = check(captions_with(files, (1, {"captions": captions})))
  assert all("U+" not in f.found for f in report.findings)


@pytest.mark.parametrize(
  ("captions", "words"),
  [
    (["xyz qrst " * 20], "another language, or a cased one"),
    (["穿红色连衣裙的女人" * 5], "Chinese: is this a Chinese vocabulary?"),
  ],
)
def test_d9_pieces_that_are_unknown(captions, words, files):
  lines = [(i, {"captions": captions}) for i in range(8)]
  finding = found(check(captions_with(files, *lines)), "D9")
  assert finding.severity == "warning"
  assert "unknown pieces in split 'train'" in finding.found
  assert words in finding.hint


def test_vcr_s_images_are_looked_up(files, tmp_path):
  rows = [make_record(str(n), regions=2, seed=n) for n in (5, 6, 1_000_005)]
  write_tiny_store(tmp_path / "vcr", rows)
  lines = [
    vcr_question(n, 0, split="train", img_id=f"train-{n}") for n in (5, 9)
  ]
  path = write_lines(tmp_path / "train.jsonl", lines)
  report = check({**files, "captions": path, "store": tmp_path / "vcr"})
  assert found(report, "D12").found == (
    "1 of 2 images of split 'train' without features: 'train-9'"
  )
  assert found(report, "D13").count == 2


def test_d11_features_under_two_ids(plant):
  same = records()[3]["features"]
  rest = {k: records()[3][k] for k in ("boxes", "class_probs")}
  finding = found(check(plant((0, {"features": same, **rest}))), "D11")
  assert finding.found == "the features of 'im0' again"
  assert finding.image_id == "im3"


def test_d12_when_no_id_fits(files):
  lines = [
    {**line, "image_id": "x" + line["image_id"]} for line in caption_lines()
  ]
  write_lines(files["captions"], lines)
  report = check(files)
  finding = found(report, "D12")
  assert finding.count == len(report.missing_ids) == 12
  assert [p.found.split(" without")[0] for p in finding.places] == [
    "8 of 8 images of split 'train'",
    "4 of 4 images of split 'val'",
  ]


def test_d13_features_without_captions(files):
  write_lines(files["captions"], caption_lines()[:10])
  finding = found(check(files), "D13")
  assert (finding.severity, finding.count) == ("warning", 2)
  assert "'im10', 'im11'" in finding.found
  # Of a part of the splits it is no news.
  assert found(check(files, splits=["train"]), "D13").severity == "note"


def test_d14_an_image_in_two_files(files, tmp_path):
  lines = [{**line, "split": "val"} for line in caption_lines()[:3]]
  other = write_lines(tmp_path / "other.jsonl", lines)
  report = run_checks(
    files["store"], annotations=[files["captions"], other]
  ).report
  finding = found(report, "D14", "error")
  assert finding.count == 3
  assert found(report, "D14", "note").count == 3  # the captions too


@pytest.mark.parametrize(
  ("options", "words", "hint"),
  [
    ({"batch_size": 6, "devices": 4}, "6 for 4 devices", "nearest: 4 or 8"),
    ({"batch_size": 3, "devices": 8}, "3 for 8 devices", "nearest: 8"),
    ({"batch_size": 16}, "8 examples in split 'train'", "batch_size=8"),
    (
      {"batch_size": 12, "devices": 3},
      "8 examples in split 'train'",
      "batch_size=6",
    ),
  ],
)
def test_d15_batches(options, words, hint, files):
  finding = found(check(files, **options), "D15")
  assert finding.severity == "error"
  assert finding.found.startswith(words)
  assert finding.hint == hint


def test_d17_captions_of_two_splits_are_no_ties(files):
  report = check(captions_with(files, (9, {"captions": ["a dog runs cat"]})))
  assert all(f.case != "D17" for f in report.findings)


def test_d17_images_that_are_the_same(plant):
  same = {k: records()[9][k] for k in ("features", "boxes", "class_probs")}
  report = check(plant((10, same)))
  finding = found(report, "D17")
  assert finding.found == (
    "2 images with the features of another, such as 'im9' and 'im10' in split "
    "'val'"
  )


# The rest


@pytest.mark.parametrize(
  ("claim", "make", "warns", "name"),
  [
    ("bottom-up attention, ResNet-101", "bottom_up", False, "bottom-up"),
    ("bottom-up attention, ResNet-101", "normal", True, "standardised"),
    ("EfficientNet-Lite0", "bottom_up", True, "bottom-up"),
    ("our own network", "normal", False, "standardised"),
    ("our own network", "large", False, "unknown"),
  ],
)
def test_extractors(claim, make, warns, name, tmp_path):
  rng = np.random.default_rng(0)
  rows = []
  for number in range(8):
    record = make_record(f"im{number}", regions=3, seed=number)
    if make == "bottom_up":
      features = np.abs(rng.normal(0, 1, (3, 2048)))
      features *= rng.uniform(size=features.shape) < 0.7
      features[0, 0] = 30
    else:
      features = rng.normal(0, 1 if make == "normal" else 50, (3, 2048))
    rows.append({**record, "features": features.astype(np.float16)})
  write_store(
    tmp_path / "store",
    rows,
    feature_dim=2048,
    num_classes=C,
    source="random",
    extractor=claim,
  )
  report = run_checks(tmp_path / "store").report
  assert report.summary["extractor"]["looks_like"].startswith(name)
  warned = [f for f in report.findings if f.case == "extractor"]
  assert bool(warned) == warns
  assert report.ok


def test_the_report_as_json(files):
  report = check(files, batch_size=5, devices=2)
  content = json.loads(report.to_json())
  assert content["ok"] is False
  first = content["findings"][0]
  assert {k: first[k] for k in ("case", "severity", "found", "hint")} == {
    "case": "D15",
    "severity": "error",
    "found": "5 for 2 devices",
    "hint": "nearest: 4 or 6",
  }
  assert set(first) >= {"file", "record", "image_id", "field", "wanted"}
  assert report.to_text().splitlines()[-1].startswith("NOT OK: 1 kind of error")


def test_places_are_grouped(plant):
  faults = [(i, {"features": put((0, 0), np.nan)}) for i in range(7)]
  finding = found(check(plant(*faults)), "D3")
  assert finding.count == 7
  assert [p.image_id for p in finding.places] == ["im0", "im1", "im2"]
  assert "and 4 more" in finding.to_lines()[-2]


def test_fast_checks_read_a_sample(files, monkeypatch):
  from input_pipeline.checks import run

  monkeypatch.setattr(run, "FAST_SAMPLE", 5)
  splits = [
    SplitCaptions(
      name,
      str(files["captions"]),
      load_captions(files["captions"], name),
      is_training=name == "train",
    )
    for name in ("train", "val")
  ]
  tokenizer = Tokenizer(files["vocab"])

  def check(**settings):
    return fast_checks(
      files["store"],
      splits,
      tokenizer=tokenizer,
      settings=CheckSettings(**settings),
    )

  report = check(batch_size=16)
  assert report.summary["store"]["images read"] == 5
  assert found(report, "D15").found == "8 examples in split 'train'"
  path = shard_files(files)[0]
  path.write_bytes(path.read_bytes()[:-100])
  assert any(f.case == "D1" for f in check().findings)


def test_a_vocabulary_is_optional(files):
  report = run_checks(files["store"], annotations=[files["captions"]]).report
  assert report.summary["captions, train"]["length"]["unit"] == "words"
  assert report.summary["captions, train"]["share_of_unknown"] is None
