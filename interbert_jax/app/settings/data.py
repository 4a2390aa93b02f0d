"""The fast checks of the data as a run begins (input_pipeline/checks)."""

import dataclasses
import functools
import pathlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import jax

from input_pipeline.annotations.captions import SHOWN, Captions
from input_pipeline.batches.image_texts import DataSource
from input_pipeline.checks.annotation_file import SplitCaptions
from input_pipeline.checks.report import Finding, Report
from input_pipeline.checks.run import fast_checks
from input_pipeline.checks.settings import CheckSettings
from input_pipeline.checks.splits import MISSING_IDS
from input_pipeline.store.bad_records import BadRecords
from input_pipeline.text.tokenizer import Tokenizer
from interbert_jax.contract.errors import ConfigError, DataError, MissingImages
from interbert_jax.contract.files import write_text


class CaptionData(Protocol):
  """Data of any task over captions."""

  source: DataSource
  captions: Captions
  tokenizer: Tokenizer
  bad_records: BadRecords

  @property
  def info(self) -> Mapping[str, Any]: ...


POLICIES = ("error", "warn", "off")
# What is wrong with records that input.on_bad_record=skip leaves out.
SKIPPED = ("D1", "D2", "D3", "D4", "D5")


def check_policy(policy: str):
  if policy not in POLICIES:
    raise ConfigError(
      f"data_checks is {policy!r}; wanted one of {', '.join(POLICIES)}"
    )


def check_data(
  config: Mapping[str, Any],
  data: Sequence[CaptionData],
  *,
  devices: int,
  workdir: pathlib.Path | None = None,
  quiet: bool = False,
):
  """Looks at a sample of a run's data and says what is wrong with it.

  One line says what of the data is cut or left out.

  Args:
    config: of the run; `data_checks` says what an error leads to.
    data: what was built of it, for training and for evaluation.
    devices: that share a batch.
    workdir: of the run, for lists of what is left out; None for no lists.
    quiet: prints nothing: on all hosts but one.

  Raises:
    DataError: lists all errors, unless they are to be warnings.
  """
  policy = config["data_checks"]
  check_policy(policy)
  reports = []
  if policy != "off":
    for store in dict.fromkeys(found.source.store for found in data):
      here = [found for found in data if found.source.store == store]
      reports.append(
        _check_store(config, store, here, devices, policy=policy, quiet=quiet)
      )
  if workdir is not None:
    process = jax.process_index()
    name = f"bad_records-{process}.jsonl" if process else "bad_records.jsonl"
    for found in data:
      found.bad_records.log_to(workdir / name)
    missing = [i for found in data for i in found.captions.missing]
    if missing and not quiet:
      _write_ids(workdir, missing)
  line = _left_out(config, data, reports)
  if line and not quiet:
    print(line, file=sys.stderr)


def keeps_missing_ids(
  run: Callable[[Any, pathlib.Path], Any],
) -> Callable[[Any, pathlib.Path], Any]:
  """Makes a run that ends for ids a store lacks write all of them down.

  Where the message has room for all, nothing is written.
  """

  @functools.wraps(run)
  def guarded(config, workdir: pathlib.Path):
    try:
      return run(config, workdir)
    except MissingImages as error:
      if len(error.ids) <= SHOWN:
        raise
      path = _write_ids(pathlib.Path(workdir), error.ids)
      raise DataError(f"{error}; all of them: {path}") from None

  return guarded


def _write_ids(workdir: pathlib.Path, ids: Iterable[str]) -> pathlib.Path:
  lines = "".join(f"{image_id}\n" for image_id in dict.fromkeys(ids))
  return write_text(workdir / MISSING_IDS, lines)


def _left_out(
  config: Mapping[str, Any],
  data: Sequence[CaptionData],
  reports: Sequence[Report],
) -> str:
  """One line; empty where all of the data is used as it is."""
  parts = []

  def add(count: int, what: str):
    parts.extend([f"{count:,} {what}"] if count else [])

  section = config["input"]
  add(
    sum(found.info["num_truncated_texts"] for found in data),
    f"texts are cut at {section['max_text_length']} tokens",
  )
  add(
    sum(found.captions.num_missing for found in data),
    f"images without regions are left out ({MISSING_IDS})",
  )
  add(
    sum(found.captions.num_bad for found in data),
    "captions that are no text are left out",
  )
  add(
    sum(len(found.bad_records) for found in data),
    "records that cannot be used are left out",
  )
  for finding in (f for r in reports for f in r.findings if f.case == "D13"):
    add(finding.count, "images of the store are in none of these splits")
  read = sum(r.summary.get("store", {}).get("images read", 0) for r in reports)
  for finding in (f for r in reports for f in r.findings if f.case == "D6"):
    add(
      finding.count,
      f"of {read:,} sampled images have more than "
      f"{section['max_regions']} regions: {finding.hint}",
    )
  return f"data: {'; '.join(parts)}" if parts else ""


def _check_store(
  config, store: str, data, devices: int, *, policy, quiet
) -> Report:
  section = config["input"]
  evaluated = (section["annotations"], config["evals"]["split"])
  report = fast_checks(
    store,
    [
      SplitCaptions(
        found.source.split,
        found.source.annotations,
        # What is missing was left out as the configuration says.
        dataclasses.replace(found.captions, missing=()),
        is_training=found.source[1:] != evaluated,
      )
      for found in data
    ],
    tokenizer=data[0].tokenizer,
    settings=CheckSettings(
      max_regions=section["max_regions"],
      max_text_length=section["max_text_length"],
      batch_size=_batch_size(config),
      devices=devices,
    ),
  )
  errors = report.of_severity("error")
  warnings = report.of_severity("warning")
  if section["on_bad_record"] == "skip":
    left_out = [f for f in errors if f.case in SKIPPED and f.record is not None]
    errors = [f for f in errors if f not in left_out]
    warnings += [dataclasses.replace(f, severity="warning") for f in left_out]
  if policy == "warn":
    errors, warnings = [], errors + warnings
  if not quiet and warnings:
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
  return "\n".join(line for found in findings for line in found.to_lines())


def _batch_size(config: Mapping[str, Any]) -> int | None:
  """What a corpus must fill; one of several need not fill a batch alone."""
  alone = not config["input"].get("corpora")
  return config["train"]["batch_size"] if alone else None
