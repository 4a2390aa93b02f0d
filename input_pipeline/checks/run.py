"""Runs all checks of a store and its annotations, reading each record once."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from input_pipeline.checks.annotation_file import (
  SplitCaptions,
  add_refusal,
  read_annotations,
)
from input_pipeline.checks.captions import check_captions
from input_pipeline.checks.fingerprint import FEW_VALUES, check_extractor
from input_pipeline.checks.record_values import RecordValues
from input_pipeline.checks.report import Findings, Place, Report
from input_pipeline.checks.settings import CheckSettings
from input_pipeline.checks.shard_records import ShardRecords
from input_pipeline.checks.splits import (
  check_batches,
  check_ids,
  check_overlap,
  check_repeats,
  check_ties,
)
from input_pipeline.checks.statistics import Contents, StoreStatistics
from input_pipeline.checks.store_files import StoreFiles, check_store_files
from input_pipeline.store.manifest import MANIFEST
from input_pipeline.store.staged_store import is_staged
from input_pipeline.text.tokenizer import Tokenizer
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.progress import SILENT, Progress

FAST_SAMPLE = 256  # records; reads below 40 MB of the usual features
_TEXTS_PER_RECORD = 8  # captions that are looked at for a record of a sample


@dataclasses.dataclass
class Checked:
  """A report, and what can be drawn beside it.

  Attributes:
    report: the report of all checks.
    records: some records of the store, to be drawn.
    splits: all splits that could be read.
    background_class: column of class_probs that means no object.
  """

  report: Report
  records: list[dict[str, Any]]
  splits: list[SplitCaptions]
  background_class: int | None = None


def run_checks(
  store: str | pathlib.Path,
  *,
  annotations: Sequence[str | pathlib.Path] = (),
  splits: Sequence[str] | None = None,
  vocab: str | pathlib.Path | None = None,
  settings: CheckSettings | None = None,
  progress: Progress = SILENT,
) -> Checked:
  """Checks a store, and the captions that belong to it.

  Args:
    store: directory of the store.
    annotations: files of captions or of VCR's questions.
    splits: splits to read; None for all.
    vocab: a WordPiece vocabulary, to count pieces and unknown ones.
    settings: what to check, and for which batches.
    progress: counts records.
  """
  settings = settings or CheckSettings()
  findings = Findings()
  tokenizer = None
  try:
    tokenizer = None if vocab is None else Tokenizer(vocab)
  except DataError as error:
    hint = "pieces are not counted"
    add_refusal(error, pathlib.Path(vocab), findings, case="vocab", hint=hint)
  store = pathlib.Path(store)
  if is_staged(store):
    raise DataError(
      "a staged copy, wanted the region store that it was made of",
      file=store,
      hint=f"python -m input_pipeline.stage --store=... --output={store} "
      "compares the copy with its checksums",
    )
  files = check_store_files(store, findings, checksums=not settings.fast)
  if files is not None and files.layout.num_classes is None:
    findings.note(
      "probs",
      Place("none", str(store / MANIFEST)),
      "class probabilities, for the paper's masked region modeling",
      "pretrain with task.mrm_loss=features and task.mrm_weight=0.002 "
      "(docs/objectives.md); fine-tuning needs none",
      field="class_probs",
    )
  store_ids = None if files is None else files.image_ids
  captions = read_annotations(
    annotations, splits, findings, store_ids=store_ids
  )
  return check_loaded(
    store,
    files,
    captions,
    findings,
    tokenizer=tokenizer,
    settings=settings,
    all_splits=bool(captions) and splits is None,
    progress=progress,
  )


def fast_checks(
  store: str | pathlib.Path,
  splits: Sequence[SplitCaptions],
  *,
  tokenizer: Tokenizer,
  settings: CheckSettings,
) -> Report:
  """The checks as training begins: of a sample, and without checksums.

  If the store is a staged copy only the captions are checked: records were
  checked as the copy was made, sizes of files when it was opened.
  """
  findings = Findings()
  store = pathlib.Path(store)
  settings = dataclasses.replace(settings, fast=True)
  files = None
  if not is_staged(store):
    files = check_store_files(store, findings, checksums=False)
  return check_loaded(
    store,
    files,
    splits,
    findings,
    tokenizer=tokenizer,
    settings=settings,
    all_splits=False,
  ).report


def check_loaded(
  store: pathlib.Path,
  files: StoreFiles | None,
  splits: Sequence[SplitCaptions],
  findings: Findings,
  *,
  tokenizer: Tokenizer | None,
  settings: CheckSettings,
  all_splits: bool,
  progress: Progress = SILENT,
) -> Checked:
  """Runs the checks after store and annotations were opened."""
  rng = np.random.default_rng(0)
  summary: dict[str, Any] = {}
  records: list[dict[str, Any]] = []
  missing: tuple[str, ...] = ()
  repeats: list[np.ndarray] = []
  if files is not None:
    repeats, records = _check_records(
      files, findings, summary, settings=settings, rng=rng, progress=progress
    )
  if files is not None and files.image_ids is not None and splits:
    missing = check_ids(
      splits, files.image_ids, findings, store=store, whole=all_splits
    )
    summary["ids"] = {
      "images of the store": len(files.image_ids),
      "captioned images": sum(len(s.captions.image_ids) for s in splits),
      "captioned, not in the store": len(missing),
    }
  for split in splits:
    summary[f"captions, {split.name}"] = check_captions(
      split,
      findings,
      tokenizer=tokenizer,
      max_text_length=settings.max_text_length,
      chosen=_some_texts(split, settings, rng),
    )
  check_overlap(splits, findings, texts=not settings.fast)
  if settings.batch_size is not None:
    check_batches(
      splits,
      findings,
      batch_size=settings.batch_size,
      devices=settings.devices,
    )
  if files is not None and files.image_ids is not None:
    check_repeats(repeats, files.image_ids, findings, store=store)
    check_ties(splits, repeats, files.image_ids, findings)
  report = Report(findings.sorted(), summary, missing)
  background = None if files is None else files.manifest.get("background_class")
  return Checked(report, records, list(splits), background)


def _some_texts(
  split: SplitCaptions, settings: CheckSettings, rng: np.random.Generator
) -> np.ndarray | None:
  """Numbers of the texts to check; None for all."""
  count, most = len(split.captions.texts), FAST_SAMPLE * _TEXTS_PER_RECORD
  if not settings.fast or count <= most:
    return None
  return np.sort(rng.choice(count, most, replace=False))


def _check_records(
  files: StoreFiles,
  findings: Findings,
  summary: dict[str, Any],
  *,
  settings: CheckSettings,
  rng: np.random.Generator,
  progress: Progress,
) -> tuple[list[np.ndarray], list[dict[str, Any]]]:
  """Checks all readable records; returns repeated rows and records to draw."""
  statistics, contents = StoreStatistics(), Contents()
  manifest = files.manifest
  values = RecordValues(
    findings,
    statistics,
    max_regions=settings.max_regions,
    region_order=manifest.get("region_order") or "as stored",
    num_ids=_num_ids(manifest),
  )
  reader = ShardRecords(files, findings)
  rows = np.arange(len(reader))
  if settings.fast and len(rows) > FAST_SAMPLE:
    rows = np.sort(rng.choice(len(rows), FAST_SAMPLE, replace=False))
  shown_rows = set(
    rng.choice(rows, min(settings.draw, len(rows)), replace=False).tolist()
  )
  progress.expect(len(rows))
  shown = []
  for row, place, record in reader.read(rows):
    values.add(place, record)
    if record["num_regions"]:
      contents.add(row, record["features"])
      if row in shown_rows:
        shown.append(record)
    progress.advance(1)
  values.finish()
  summary["store"] = {
    "directory": str(files.directory),
    "images": len(reader),
    "images read": statistics.records,
    "features": f"{files.layout.feature_dim} {files.layout.feature_encoding}",
    "class probabilities": files.layout.num_classes or "none",
    "region order": manifest.get("region_order") or "as stored",
  }
  summary |= statistics.summary()
  if statistics.features:
    summary["extractor"] = check_extractor(
      statistics.features,
      feature_dim=files.layout.feature_dim,
      coarse=files.layout.feature_encoding != "float16",
      enough=statistics.num_values >= FEW_VALUES,
      claim=manifest.get("extractor") or "",
      place=Place("", str(files.directory / MANIFEST)),
      findings=findings,
    )
  return contents.repeats(), shown


def _num_ids(manifest: dict[str, Any]) -> int | None:
  """How many classes there are without background; None if unknown."""
  count = manifest.get("num_classes")
  if count is None:
    return None
  return count - (manifest.get("background_class") is not None)
