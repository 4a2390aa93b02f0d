"""What is wrong with a row of a TSV is said with its place."""

import numpy as np
import pytest

from tests.input_pipeline.formats.conftest import (
  CORPUS,
  clear_caches,
  expect_fault,
  read,
)
from tests.support import format_writers as write


def edit_tsv(path, line, column, value):
  rows = [row.split(b"\t") for row in path.read_bytes().split(b"\n")]
  old = rows[line][column]
  rows[line][column] = value(old) if callable(value) else value
  path.write_bytes(b"\n".join(b"\t".join(row) for row in rows))


def b64(array, dtype="<f4") -> bytes:
  return write.b64(array, dtype).encode()


@pytest.mark.parametrize(
  ("column", "value", "words"),
  [
    (0, b"", ["field image_id: found an empty id"]),
    (0, b"\xff\xfe", ["field image_id: not UTF-8: bytes ff"]),
    (1, b"wide", ["(image id '1037'), field image_w: found 'wide'"]),
    (1, b"0", ["field image_w: found 0, wanted pixels"]),
    (2, b"-5", ["field image_h: found -5"]),
    (2, b"9" * 30, ["field image_h: found 999"]),
    (3, b"many", ["field num_boxes: found 'many', wanted a whole number"]),
    (
      3,
      b"5",
      ["field cls_prob: found 25616 bytes, wanted a multiple of 4 x 5"],
    ),
    (
      4,
      lambda b: b"b'" + b + b"'",
      ["field boxes: begins with b'", "Python 3"],
    ),
    (4, b64(np.zeros((4, 5))), ["field boxes: found width 5, wanted 4"]),
    (5, lambda b: b[:-8], ["field features: found", "wanted a multiple"]),
    (5, lambda b: b[:-7], ["field features: no base64", "truncated"]),
    (5, b"*" * 64, ["field features: no base64"]),
    (6, b64(np.zeros(7)), ["field cls_prob: found 28 bytes"]),
  ],
)
def test_butd_rows(column, value, words, tmp_path):
  rows = [write.butd_row(image, classes=True) for image in CORPUS]
  path = write.write_tsv(tmp_path / "a.tsv", (*write.BUTD, "cls_prob"), rows)
  edit_tsv(path, 1, column, value)
  expect_fault(path, "butd_tsv", [f"{path}:2: ", *words])


def test_truncated_and_short_rows(tmp_path):
  path = write.butd_tsv_6(CORPUS, tmp_path)
  whole = path.read_bytes()
  for cut in (2, 100):
    path.write_bytes(whole[:-cut])
    ids, errors = read(path, "butd_tsv")
    assert ids == [CORPUS[0].image_id, CORPUS[1].image_id]
    assert len(errors) == 1
    assert f"{path}:3" in errors[0]
    assert "truncated" in errors[0]
  start = whole.rindex(b"\n", 0, -1) + 1
  path.write_bytes(whole[: start + 6])
  ids, (error,) = read(path, "butd_tsv")
  assert f"{path}:3: found 2 tab-separated columns, wanted 6 or 7" in error
  assert "ends within this row: truncated" in error


def test_a_file_of_one_endless_line(tmp_path, monkeypatch):
  from input_pipeline.formats import tsv_file

  monkeypatch.setattr(tsv_file, "MAX_LINE_BYTES", 1000)
  path = tmp_path / "a.tsv"
  path.write_bytes(b"a" * 5000)
  ids, (error,) = read(path, "lxmert_tsv")
  assert "found a line of more than" in error
  assert str(path) in error


@pytest.mark.parametrize(
  ("column", "value", "words"),
  [
    (
      3,
      b64(np.zeros(3), "<i8"),
      ["field objects_id: found 3 rows for 4 boxes"],
    ),
    (3, b64(np.zeros(4), "<i4")[:-4], ["field objects_id: found 15 bytes"]),
    (4, b"!", ["field objects_conf: no base64"]),
    (8, b"", ["field boxes"]),
  ],
)
def test_lxmert_rows(column, value, words, tmp_path):
  path = write.lxmert_tsv(CORPUS, tmp_path)
  edit_tsv(path, 1, column, value)
  expect_fault(path, "lxmert_tsv", [f"{path}:2: ", *words])


def test_kdd_header(tmp_path):
  path = write.kdd_tsv(CORPUS, tmp_path)
  edit_tsv(path, 0, 1, b"image_w")
  expect_fault(
    path, "kdd_tsv", ["found the header product_id image_w"], others=False
  )


@pytest.mark.parametrize(
  ("column", "value", "words"),
  [
    (1, b"{}", ["field num_boxes: no number"]),
    (1, b"9", ["field features: found"]),
    (2, b64(np.ones((4, 6))), ["field features: found width 6, wanted 2054"]),
    (2, b64(np.full((4, 70), 9)), ["no box from 0 to 1"]),
    (0, b"7", ["field image_id: not in predictions.tsv"]),
  ],
)
def test_vinvl_rows(column, value, words, tmp_path):
  folder = write.vinvl_tsv(CORPUS, tmp_path)
  edit_tsv(folder / "features.tsv", 1, column, value)
  expect_fault(folder, "vinvl_tsv", [f"{folder}/features.tsv:2: ", *words])


def test_vinvl_predictions(tmp_path):
  folder = write.vinvl_tsv(CORPUS, tmp_path)
  for value, words in (
    (b"{", "not readable as JSON"),
    (b"[]", "found list in JSON, wanted an object"),
    (b'{"image_h": 3}', "field image_w: missing; the record has image_h"),
  ):
    clear_caches()
    edit_tsv(folder / "predictions.tsv", 1, 1, value)
    ids, (error,) = read(folder, "vinvl_tsv")
    assert f"{folder}/predictions.tsv:2" in error
    assert words in error
