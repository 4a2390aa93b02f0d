"""The fast checks of the data as a run begins (input_pipeline/checks)."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from input_pipeline.annotations import Captions
from input_pipeline.checks.annotation_file import SplitCaptions
from input_pipeline.checks.report import Finding
from input_pipeline.checks.run import Checks, fast_checks
from input_pipeline.errors import DataError
from input_pipeline.image_texts import DataSource
from input_pipeline.tokenizer import Tokenizer
from interbert_jax.errors import ConfigError


class CaptionData(Protocol):
  """Data of any task over captions."""

  source: DataSource
  captions: Captions
  tokenizer: Tokenizer


POLICIES = ("error", "warn", "off")


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
  quiet: bool = False,
):
  """Looks at a sample of a run's data and says what is wrong with it.

  Args:
    config: of the run; `data_checks` says what an error leads to.
    data: what was built of it, for training and for evaluation.
    devices: that share a batch.
    quiet: prints nothing: on all hosts but one.

  Raises:
    DataError: lists all errors, unless they are to be warnings.
  """
  policy = config["data_checks"]
  check_policy(policy)
  if policy == "off":
    return
  for store in dict.fromkeys(found.source.store for found in data):
    here = [found for found in data if found.source.store == store]
    _check_store(config, store, here, devices, policy=policy, quiet=quiet)


def _check_store(config, store: str, data, devices: int, *, policy, quiet):
  section = config["input"]
  evaluated = (section["annotations"], config["evals"]["split"])
  report = fast_checks(
    store,
    [
      SplitCaptions(
        found.source.split,
        found.source.annotations,
        found.captions,
        is_training=found.source[1:] != evaluated,
      )
      for found in data
    ],
    tokenizer=data[0].tokenizer,
    checks=Checks(
      max_regions=section["max_regions"],
      max_text_length=section["max_text_length"],
      batch_size=_batch_size(config),
      devices=devices,
    ),
  )
  errors = report.of_severity("error")
  warnings = report.of_severity("warning")
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


def _lines(findings: list[Finding]) -> str:
  return "\n".join(line for found in findings for line in found.to_lines())


def _batch_size(config: Mapping[str, Any]) -> int | None:
  """What a corpus must fill; one of several need not fill a batch alone."""
  alone = not config["input"].get("corpora")
  return config["train"]["batch_size"] if alone else None
