"""The data of a run, and the fast checks of it (input_pipeline/checks)."""

import dataclasses
import pathlib
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import jax

from configs.common import Experiment
from input_pipeline.annotations.captions import SHOWN
from input_pipeline.batches.reader import BatchReader
from input_pipeline.checks.annotation_file import SplitCaptions
from input_pipeline.checks.report import Finding, Report
from input_pipeline.checks.run import fast_checks
from input_pipeline.checks.settings import CheckSettings
from input_pipeline.checks.splits import MISSING_IDS
from interbert_jax.app.build import find_task
from interbert_jax.contract.errors import DataError, MissingImages
from interbert_jax.contract.files import write_text
from interbert_jax.parallel import is_main_process

# What is wrong with records that input.on_bad_record=skip leaves out.
SKIPPED = ("D1", "D2", "D3", "D4", "D5")

if TYPE_CHECKING:
  from input_pipeline.tasks.captions import CaptionData
  from input_pipeline.tasks.questions import QuestionData

  Corpora = Sequence[CaptionData | QuestionData]


def load_data(
  settings: Experiment, split: str, workdir: pathlib.Path
) -> BatchReader:
  """The data of a split.

  Raises:
    MissingImages: the store lacks images; where the message has no room for
      all of their ids, they are written to the workdir first.
  """
  try:
    return find_task(settings).data(settings, split)
  except MissingImages as error:
    if len(error.ids) <= SHOWN:
      raise
    path = _write_ids(workdir, error.ids)
    raise DataError(f"{error}; all of them: {path}") from None


def check_data(
  settings: Experiment,
  data: BatchReader,
  held_out: BatchReader,
  workdir: pathlib.Path,
):
  """Looks at a sample of a run's data and says what is wrong with it.

  One line says what of the data is cut or left out; lists of it go to the
  workdir.

  Args:
    settings: of the run; `data_checks` says what an error leads to.
    data: to train on.
    held_out: for evaluation.
    workdir: of the run.

  Raises:
    DataError: lists all errors, unless they are to be warnings.
  """
  corpora = [*data.corpora, *held_out.corpora]
  # One of several corpora need not fill a batch alone.
  alone = list(data.corpora) == [data]
  batch_size = settings.train.batch_size if alone else None
  reports = []
  if settings.data_checks != "off":
    for store in dict.fromkeys(corpus.settings.store for corpus in corpora):
      here = [corpus for corpus in corpora if corpus.settings.store == store]
      reports.append(_check_store(settings, store, here, batch_size))
  process = jax.process_index()
  name = f"bad_records-{process}.jsonl" if process else "bad_records.jsonl"
  for corpus in corpora:
    corpus.bad_records.log_to(workdir / name)
  if not is_main_process():
    return
  if missing := [i for corpus in corpora for i in corpus.captions.missing]:
    _write_ids(workdir, missing)
  if line := _left_out(settings, corpora, reports):
    print(line, file=sys.stderr)


def _write_ids(workdir: pathlib.Path, ids: Iterable[str]) -> pathlib.Path:
  lines = "".join(f"{image_id}\n" for image_id in dict.fromkeys(ids))
  return write_text(workdir / MISSING_IDS, lines)


def _left_out(
  settings: Experiment, corpora: "Corpora", reports: Sequence[Report]
) -> str:
  """One line; empty where all of the data is used as it is."""
  parts = []

  def add(count: int, what: str):
    parts.extend([f"{count:,} {what}"] if count else [])

  section = settings.input
  add(
    sum(corpus.info["num_truncated_texts"] for corpus in corpora),
    f"texts are cut at {section.max_text_length} tokens",
  )
  add(
    sum(corpus.captions.num_missing for corpus in corpora),
    f"images without regions are left out ({MISSING_IDS})",
  )
  add(
    sum(corpus.captions.num_bad for corpus in corpora),
    "captions that are no text are left out",
  )
  add(
    sum(len(corpus.bad_records) for corpus in corpora),
    "records that cannot be used are left out",
  )
  for finding in (f for r in reports for f in r.findings if f.case == "D13"):
    add(finding.count, "images of the store are in none of these splits")
  read = sum(r.summary.get("store", {}).get("images read", 0) for r in reports)
  for finding in (f for r in reports for f in r.findings if f.case == "D6"):
    add(
      finding.count,
      f"of {read:,} sampled images have more than "
      f"{section.max_regions} regions: {finding.hint}",
    )
  return f"data: {'; '.join(parts)}" if parts else ""


def _check_store(
  settings: Experiment, store: str, corpora: "Corpora", batch_size: int | None
) -> Report:
  section, policy = settings.input, settings.data_checks
  evaluated = (section.annotations, settings.evals.split)
  report = fast_checks(
    store,
    [
      SplitCaptions(
        corpus.split,
        corpus.settings.annotations,
        # What is missing was left out as the configuration says.
        dataclasses.replace(corpus.captions, missing=()),
        is_training=(corpus.settings.annotations, corpus.split) != evaluated,
      )
      for corpus in corpora
    ],
    tokenizer=corpora[0].tokenizer,
    settings=CheckSettings(
      max_regions=section.max_regions,
      max_text_length=section.max_text_length,
      batch_size=batch_size,
      devices=jax.device_count(),
    ),
  )
  errors = report.of_severity("error")
  warnings = report.of_severity("warning")
  if section.on_bad_record == "skip":
    left_out = [f for f in errors if f.case in SKIPPED and f.record is not None]
    errors = [f for f in errors if f not in left_out]
    warnings += [dataclasses.replace(f, severity="warning") for f in left_out]
  if policy == "warn":
    errors, warnings = [], errors + warnings
  if warnings and is_main_process():
    print(_lines(warnings), file=sys.stderr)
  if errors:
    raise DataError(
      f"found what must be put right before training:\n{_lines(errors)}\n"
      "  python -m input_pipeline.check looks at all of the data;\n"
      "  --config.data_checks=warn trains all the same",
      file=store,
    )
  return report


def _lines(findings: list[Finding]) -> str:
  return "\n".join(line for finding in findings for line in finding.to_lines())
