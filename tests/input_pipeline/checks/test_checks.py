"""Captions and reports: every check finds its fault, sound files have none.

The commonest faults are in tests/support/bad_input.py, with what training says.
"""

import json

import numpy as np
import pytest

from input_pipeline.annotations.load import load_captions
from input_pipeline.checks.annotation_file import SplitCaptions
from input_pipeline.checks.run import fast_checks, run_checks
from input_pipeline.checks.settings import CheckSettings
from input_pipeline.text.tokenizer import Tokenizer
from tests.input_pipeline.checks.conftest import check, found, shard_files
from tests.support.planted import caption_lines, put, records
from tests.support.tiny_data import (
  make_record,
  write_lines,
  write_tiny_store,
)
from tests.support.tiny_questions import vcr_question


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


# D8, D9, D12 to D17: captions


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


# The report


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


def test_a_vocabulary_that_cannot_be_read_hides_nothing(files):
  files["vocab"].write_text("a\ndog\n")
  write_lines(files["captions"], caption_lines()[:10])
  report = check(files)
  finding = found(report, "vocab", "error")
  assert finding.file == str(files["vocab"])
  assert finding.found and finding.hint == "pieces are not counted"
  assert found(report, "D13").count == 2
