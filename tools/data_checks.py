"""The fast checks of the data as a run begins (input_pipeline/checks)."""

import sys
from collections.abc import Mapping
from typing import Any

from input_pipeline.checks.annotation_file import SplitCaptions
from input_pipeline.checks.report import Finding
from input_pipeline.checks.run import Checks, fast_checks
from input_pipeline.errors import DataError
from input_pipeline.pretrain import PretrainData
from interbert_jax.errors import ConfigError

POLICIES = ("error", "warn", "off")


def check_data(
  config: Mapping[str, Any],
  data: Mapping[str, PretrainData],
  *,
  devices: int,
  quiet: bool = False,
):
  """Looks at a sample of a run's data and says what is wrong with it.

  Args:
    config: of the run; `data_checks` says what an error leads to.
    data: split -> what was built of it.
    devices: that share a batch.
    quiet: prints nothing: on all hosts but one.

  Raises:
    DataError: lists all errors, unless they are to be warnings.
  """
  policy = config["data_checks"]
  if policy not in POLICIES:
    raise ConfigError(
      f"data_checks is {policy!r}; wanted one of {', '.join(POLICIES)}"
    )
  if policy == "off":
    return
  section = config["input"]
  any_data = next(iter(data.values()))
  report = fast_checks(
    section["store"],
    [
      SplitCaptions(
        split,
        str(section["annotations"]),
        found.captions,
        is_training=split == section["train_split"],
      )
      for split, found in data.items()
    ],
    tokenizer=any_data.tokenizer,
    checks=Checks(
      max_regions=section["max_regions"],
      max_text_length=section["max_text_length"],
      batch_size=config["train"]["batch_size"],
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
      file=section["store"],
    )


def _lines(findings: list[Finding]) -> str:
  return "\n".join(line for found in findings for line in found.to_lines())
