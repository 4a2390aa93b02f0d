"""The README.md of an export folder, from model_card.md."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from interbert_jax.config import InterBertConfig
from interbert_jax.metric_writer import read_metrics

_TEMPLATE = pathlib.Path(__file__).with_name("model_card.md")


@dataclasses.dataclass(frozen=True)
class RunFacts:
  """What a workdir knows beyond its checkpoints.

  Attributes:
    language: of the captions.
    origin: the weights that the run started from, empty for random ones.
    metrics: (name, value, where it was measured).
  """

  language: str = ""
  origin: str = ""
  metrics: tuple[tuple[str, float, str], ...] = ()


def read_run(workdir: pathlib.Path, step: int) -> RunFacts:
  """Of the run around a checkpoint; empty where there is none."""
  config = _read_json(workdir / "config.json")
  metrics = [
    (name, value, "during training")
    for row in read_metrics(workdir)
    if row["step"] == step
    for name, value in row.items()
    if "/" in name and value is not None
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
  if "path" in start:
    # Its name alone: where it lay on this machine is nobody's business.
    name = pathlib.PurePath(start["path"]).name
    origin = f"{name} ({start.get('format')})"
  return RunFacts(str(config.get("language", "")), origin, tuple(metrics))


def _read_json(path: pathlib.Path) -> dict[str, Any]:
  try:
    found = json.loads(path.read_text(encoding="utf-8"))
  except (OSError, ValueError):
    return {}
  return found if isinstance(found, dict) else {}


def _table(head: tuple[str, ...], rows) -> str:
  lines = [head, ("---",) * len(head), *rows]
  return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in lines)


def render(
  model: InterBertConfig,
  facts: Mapping[str, Any],
  *,
  run: RunFacts,
  num_params: int,
  weights_sha256: str,
) -> str:
  """The card. `facts` are those of the folder's config.json."""
  metrics = "None were recorded with this checkpoint."
  if run.metrics:
    rows = [(name, f"{value:.4g}", where) for name, value, where in run.metrics]
    metrics = _table(("metric", "value", "from"), rows)
  return _TEMPLATE.read_text(encoding="utf-8").format(
    architecture=_table(
      ("setting", "value"), dataclasses.asdict(model).items()
    ),
    num_params=f"{num_params:,}",
    language=run.language or "# of the captions",
    step=f"{facts.get('step', 0):,}",
    batch_size=facts.get("batch_size", "not recorded"),
    seed=facts.get("seed", "not recorded"),
    origin=facts.get("source") or run.origin or "random parameters",
    data_fingerprint=facts.get("data_fingerprint", "not recorded"),
    vocab_sha256=facts["vocab_sha256"],
    weights_sha256=weights_sha256,
    versions=", ".join(f"{k} {v}" for k, v in facts["versions"].items())
    if facts.get("versions")
    else "not recorded",
    metrics=metrics,
  )
