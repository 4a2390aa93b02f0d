"""The README.md of an export folder, from model_card.md."""

import dataclasses
import html
import pathlib
from collections.abc import Mapping
from typing import Any

from interbert_jax.contract import json_file
from interbert_jax.model.config import InterBertConfig
from interbert_jax.run.metric_writer import read_metrics

_MAX_CELL = 300
_TEMPLATE = pathlib.Path(__file__).with_name("model_card.md")


@dataclasses.dataclass(frozen=True)
class RunFacts:
  """Facts of a run that its workdir holds beside the checkpoints.

  Attributes:
    language: of the captions.
    origin: the weights that the run started from, empty for random ones.
    metrics: (name, value, where it was measured).
  """

  language: str = ""
  origin: str = ""
  metrics: tuple[tuple[str, float, str], ...] = ()


def read_run(workdir: pathlib.Path, step: int) -> RunFacts:
  """The facts of the run of a checkpoint; empty where there is none."""
  config = _read_json(workdir / "config.json")
  metrics = [
    (name, value, "during training")
    for row in read_metrics(workdir)
    if row["step"] == step
    for name, value in row.items()
    if "/" in name and isinstance(value, int | float)
  ]
  for path in sorted((workdir / "eval").glob("*.json")):
    result = _read_json(path)
    if result.get("step") == step and isinstance(result.get("metrics"), dict):
      metrics += [
        (f"{result.get('split')}/{name}", value, path.name)
        for name, value in result["metrics"].items()
        if isinstance(value, int | float)
      ]
  start = _read_json(workdir / "init_report.json")
  origin = ""
  if isinstance(start.get("path"), str):
    # Its name alone: where it lay on this machine is nobody's business.
    name = pathlib.PurePath(start["path"]).name
    origin = f"{name} ({start.get('format')})"
  return RunFacts(str(config.get("language", "")), origin, tuple(metrics))


def _read_json(path: pathlib.Path) -> dict[str, Any]:
  try:
    return json_file.read_object(path)
  except (OSError, ValueError):
    return {}


def _table(head: tuple[str, ...], rows) -> str:
  lines = [head, ("---",) * len(head), *(map(_cell, row) for row in rows)]
  return "\n".join("| " + " | ".join(row) + " |" for row in lines)


def _cell(value: Any) -> str:
  """Text of a stranger's checkpoint in Markdown: one line, no HTML, no table.

  The same text is safe in the YAML at the top of the card.
  """
  text = " ".join(str(value).split()).replace("|", "\\|")
  return html.escape(text, quote=False)[:_MAX_CELL]


def _language(code: str) -> str:
  """A code for the YAML at the top, where other text could add keys."""
  plain = code.replace("-", "").isalnum() and code.isascii()
  return code if plain else "# of the captions"


def _slots(settings: Any) -> str:
  """What the model was trained to do, on how many regions and pieces."""
  settings = settings if isinstance(settings, Mapping) else {}
  task, data = settings.get("task"), settings.get("input")
  if not (isinstance(task, Mapping) and isinstance(data, Mapping)):
    return "not recorded"
  return (
    f"{task.get('name')}; regions {data.get('max_regions', 'none')}, text "
    f"{data.get('max_text_length')}"
  )


def render(
  model: InterBertConfig,
  facts: Mapping[str, Any],
  *,
  run: RunFacts,
  num_params: int,
  weights_sha256: str,
) -> str:
  """The card. `facts` are those of the folder's config.json."""
  step, versions = facts.get("step", 0), facts.get("versions")
  versions = versions if isinstance(versions, Mapping) else {}
  metrics = "None were recorded with this checkpoint."
  if run.metrics:
    rows = [(name, f"{value:.4g}", where) for name, value, where in run.metrics]
    metrics = _table(("metric", "value", "from"), rows)
  return _TEMPLATE.read_text(encoding="utf-8").format(
    architecture=_table(
      ("setting", "value"), dataclasses.asdict(model).items()
    ),
    num_params=f"{num_params:,}",
    language=_language(run.language),
    step=_cell(f"{step:,}" if isinstance(step, int) else step),
    batch_size=_cell(facts.get("batch_size", "not recorded")),
    seed=_cell(facts.get("seed", "not recorded")),
    origin=_cell(facts.get("source") or run.origin or "random parameters"),
    data_fingerprint=_cell(facts.get("data_fingerprint", "not recorded")),
    extractor=_cell(facts.get("extractor", "not recorded")),
    slots=_cell(_slots(facts.get("settings"))),
    vocab_sha256=_cell(facts["vocab_sha256"]),
    weights_sha256=weights_sha256,
    versions=_cell(", ".join(f"{k} {v}" for k, v in versions.items()))
    if versions
    else "not recorded",
    metrics=metrics,
  )
