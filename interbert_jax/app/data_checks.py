"""The data of a run, and the fast checks of it (input_pipeline/checks)."""

import contextlib
import dataclasses
import io
import pathlib
import sys
from collections.abc import Sequence
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
from input_pipeline.store.staged_store import open_store
from input_pipeline.text.tokenizer import Tokenizer
from interbert_jax.app.build import find_task
from interbert_jax.contract.errors import (
  BadRecord,
  DataError,
  MissingImages,
  Mistakes,
  NoClassProbs,
  UserError,
)
from interbert_jax.contract.files import write_text
from interbert_jax.parallel import is_main_process

# What is wrong with records that input.on_bad_record=skip leaves out.
SKIPPED = ("D1", "D2", "D3", "D4", "D5")

if TYPE_CHECKING:
  from input_pipeline.tasks.captions import CaptionData
  from input_pipeline.tasks.questions import QuestionData

  Corpora = Sequence[CaptionData | QuestionData]


def load_data(
  settings: Experiment, split: str, workdir: pathlib.Path, mistakes: Mistakes
) -> BatchReader | None:
  """The data of a split; None where it cannot be read.

  What can be put right by a setting is collected, and the rest read as if it
  were.
  """
  section = settings.input
  with mistakes.collect():
    Tokenizer(section.vocab)
  if getattr(section, "store", ""):  # neither texts alone nor corpora have it
    with mistakes.collect():
      open_store(section.store)
  leaves_out = False  # the images that the store lacks
  while True:
    # Nothing is said of what is left out only to find what else is wrong.
    quiet = contextlib.redirect_stderr(io.StringIO())
    try:
      with quiet if leaves_out else contextlib.nullcontext():
        return find_task(settings).data(settings, split)
    except MissingImages as error:
      if leaves_out:  # and none is left
        return None
      if len(error.ids) > SHOWN:
        words = f"{error}; all of them: {workdir / MISSING_IDS}"
        error = MissingImages(words, ids=error.ids)
      mistakes.add(error)
      if not hasattr(section, "captions"):  # which it can leave out
        return None
      leaves_out = True
      captions = dataclasses.replace(section.captions, on_missing="skip")
      section = dataclasses.replace(section, captions=captions)
      settings = dataclasses.replace(settings, input=section)
    except NoClassProbs as error:
      mistakes.add(error)
      task = dataclasses.replace(settings.task, mrm_loss="features")
      settings = dataclasses.replace(settings, task=task)
    except UserError as error:
      mistakes.add(error)
      if isinstance(error, BadRecord):  # which the checks would find again
        mistakes.refuse()
      return None


def check_data(
  settings: Experiment,
  data: BatchReader | None,
  held_out: BatchReader | None,
  workdir: pathlib.Path,
  mistakes: Mistakes,
) -> None:
  """Looks at a sample of a run's data and collects what is wrong with it.

  One line says what of the data is cut or left out. Lists of it go to the
  workdir; that of images without regions also where a message has no room for
  all of them.

  Args:
    settings: of the run; `data_checks` says what an error leads to.
    data: to train on; None where it could not be read.
    held_out: for evaluation; likewise.
    workdir: of the run.
    mistakes: so far; errors of the data are added, unless they are to be
      warnings.
  """
  readable = [reader for reader in (data, held_out) if reader is not None]
  corpora = [corpus for reader in readable for corpus in reader.corpora]
  # One of several corpora need not fill a batch alone.
  alone = data is not None and list(data.corpora) == [data]
  batch_size = settings.train.batch_size if alone else None
  reports = []
  if settings.data_checks != "off":
    for store in dict.fromkeys(corpus.settings.store for corpus in corpora):
      here = [corpus for corpus in corpora if corpus.settings.store == store]
      with mistakes.collect():
        reports.append(_check_store(settings, store, here, batch_size))
  process = jax.process_index()
  name = f"bad_records-{process}.jsonl" if process else "bad_records.jsonl"
  for corpus in corpora:
    corpus.bad_records.log_to(workdir / name)
  if not is_main_process():
    return
  missing = dict.fromkeys(
    [i for corpus in corpora for i in corpus.captions.missing]
    + [i for e in mistakes if isinstance(e, MissingImages) for i in e.ids]
  )
  if len(missing) > (SHOWN if mistakes else 0):
    lines = "".join(f"{image_id}\n" for image_id in missing)
    write_text(workdir / MISSING_IDS, lines)
  line = _left_out(settings, corpora, reports)
  if line and not mistakes:
    print(line, file=sys.stderr)


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
