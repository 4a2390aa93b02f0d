"""What tests of the checks share: a sound store, and faults planted in one."""

import pytest

from input_pipeline.checks.run import run_checks
from input_pipeline.checks.settings import CheckSettings
from tests.support.planted import caption_lines, records, write_faulty_store
from tests.support.tiny_data import (
  write_lines,
  write_tiny_store,
  write_vocab,
)


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


def shard_files(files):
  return sorted(files["store"].glob("*.array_record-*"))


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
