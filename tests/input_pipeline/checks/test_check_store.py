"""Faults of a store's files and records, each found by its check."""

import json

import numpy as np
import pytest

from input_pipeline.checks.run import run_checks
from input_pipeline.store import schema
from input_pipeline.store.store_writer import write_store
from tests.input_pipeline.checks.conftest import check, found, shard_files
from tests.support.planted import put, records
from tests.support.tiny_data import (
  C,
  E,
  edit_manifest,
  flip,
  make_record,
  write_tiny_store,
)

# D1 and D2: files


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


def test_d2_other_numbers_of_regions(files):
  path = files["store"] / "num_regions.npy"
  counts = np.load(path)
  counts[3] += 1
  np.save(path, counts)
  finding = found(check(files), "D2")
  assert finding.image_id == "im3" and finding.field == "num_regions"
  assert finding.found == f"{counts[3] - 1} regions instead of {counts[3]}"
  np.save(path, counts[:5])
  assert found(check(files), "D2").found.startswith("int32[5]")


def test_d2_an_edited_manifest(files):
  path = files["store"] / "manifest.json"
  path.write_text(path.read_text().replace('"random"', '"other"'))
  assert found(check(files), "D2").found == (
    "another one: the manifest was edited"
  )


# D3 to D7, D10: records that the writer would refuse


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


# The store as a whole


def test_d11_features_under_two_ids(plant):
  same = records()[3]["features"]
  rest = {k: records()[3][k] for k in ("boxes", "class_probs")}
  finding = found(check(plant((0, {"features": same, **rest}))), "D11")
  assert finding.found == "the features of 'im0' again"
  assert finding.image_id == "im3"


def test_d17_images_that_are_the_same(plant):
  same = {k: records()[9][k] for k in ("features", "boxes", "class_probs")}
  report = check(plant((10, same)))
  finding = found(report, "D17")
  assert finding.found == (
    "2 images with the features of another, such as 'im9' and 'im10' in split "
    "'val'"
  )


def test_a_store_without_probabilities_says_what_to_train_with(files, tmp_path):
  rows = [make_record(f"im{i}", class_probs=False, seed=i) for i in range(12)]
  write_tiny_store(tmp_path / "plain", rows, num_classes=None)
  report = check({**files, "store": tmp_path / "plain"})
  finding = found(report, "probs", "note")
  assert report.ok
  assert finding.found == "none"
  assert "task.mrm_loss=features" in finding.hint


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
