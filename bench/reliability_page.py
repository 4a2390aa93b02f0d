"""The tables of docs/reliability.md, of the figures of bench/reliability.py."""

from collections.abc import Mapping
from typing import Any

from bench.measuring import ROOT, markdown_table

PAGE = ROOT / "docs" / "reliability.md"
_READERS = ("this code", "Orbax alone")


def tables(parts: Mapping[str, Any]) -> dict[str, str]:
  """Markdown by the name of its block, of the parts that were measured."""
  makers = {
    "kills": _kills,
    "damage": _damage,
    "stops": _stops,
    "elastic": _elastic,
    "cost": _cost,
    "input": _input,
  }
  needs = {"stops": ("preemption", "pod"), "input": ("bad_input", "hostile")}
  return {
    name: make(parts)
    for name, make in makers.items()
    if all(key in parts for key in needs.get(name, (name,)))
  }


def _share_of_saves(seconds: Mapping[str, float]) -> float:
  """How much of its time training takes to save, in percent."""
  training = sum(seconds[name] for name in ("data", "step", "save"))
  return 100 * seconds["save"] / training


def _kills(parts) -> str:
  run = parts["kills"]
  share = _share_of_saves(run["straight_by_activity"])
  return markdown_table(
    ("", f"{run['kills']} kills in a run of {run['steps']:,} steps"),
    [
      ("recovered", f"{run['recovered']} of {run['kills']}"),
      ("of them while a checkpoint was written", run["kills_while_saving"]),
      (
        "largest difference of a parameter from the undisturbed run",
        f"{run['parameters_max_difference']:g}",
      ),
      (
        "steps with other examples, missing, twice",
        f"{run['steps_with_other_ids']}, {run['steps_missing']}, "
        f"{run['steps_twice']}",
      ),
      ("rows of metrics that differ", run["metric_rows_that_differ"]),
      (
        "steps lost by a kill (a checkpoint every 20 steps)",
        f"{run['steps_lost_mean']:.1f} on the average, {run['steps_lost_max']} "
        "at most",
      ),
      (
        "from the start of a process to its first new step",
        f"{run['restart_seconds_mean']:.1f} s",
      ),
      (
        "share of training time for saves, every 20 steps and every 1,000",
        f"{share:.1f} %, {share / 50:.2f} %",
      ),
      (
        "wall time, undisturbed and killed",
        f"{run['straight_seconds']:.0f} s, {run['killed_seconds']:.0f} s",
      ),
    ],
  )


def _damage(parts) -> str:
  return markdown_table(
    ("", "this code", "Orbax alone"),
    [
      (text, *(parts["damage"][reader][key] for reader in _READERS))
      for text, key in (
        ("damages, each of one file of the newest of two steps", "damages"),
        ("silently wrong numbers", "silent"),
        ("went on from the older step", "recovered"),
        ("stopped with an error", "error"),
        ("the message names the file", "named"),
        ("nothing that is read was damaged", "harmless"),
      )
    ],
  )


def _stops(parts) -> str:
  rows = [
    (
      f"SIGTERM to one process, during {name}",
      f"saved after {run['seconds_to_saved']:.1f} s, ended after "
      f"{run['seconds_to_exit']:.1f} s with status {run['exit_code']}",
    )
    for name, run in parts["preemption"].items()
    if name != "minutes"
  ]
  pod = parts["pod"]
  rows.append(
    (
      "SIGTERM to one of two processes",
      f"both saved step {' and '.join(map(str, sorted(set(pod['steps']))))} "
      f"and ended after {pod['seconds_to_exit']:.1f} s with status "
      f"{' and '.join(map(str, pod['exit_codes']))}",
    )
  )
  for killed in (0, 1):
    run = pod[f"death_of_{killed}"]
    rows.append(
      (
        f"kill -9 of process {killed} of two, heartbeat 10 s",
        f"the other ended after {run['seconds']:.1f} s with status "
        f"{run['exit_code_of_the_other']}",
      )
    )
  return markdown_table(("what happens", "what follows"), rows)


def _elastic(parts) -> str:
  run = parts["elastic"]
  return markdown_table(
    ("", "8, 4, 1, 16, 8 devices"),
    [
      (
        "largest difference between what was saved and what was restored",
        f"{run['max_difference']:g}",
      ),
      (
        "examples, seen twice, in order",
        f"{run['examples']}, {run['examples_twice']}, "
        f"{'yes' if run['in_order'] else 'no'}",
      ),
    ],
  )


def _cost(parts) -> str:
  run = parts["cost"]
  return markdown_table(
    ("", f"a state of {run['state_gb']:.2f} GB (base model, AdamW)"),
    [
      ("training waits for a save", f"{run['blocking_seconds']:.2f} s"),
      ("until it is on the disk", f"{run['seconds_to_disk']:.1f} s"),
      ("of that, the checksums", f"{run['checksum_seconds']:.2f} s"),
      ("restoring", f"{run['restore_seconds']:.1f} s"),
      ("of that, the checksums", f"{run['verify_seconds']:.2f} s"),
      (
        "peak memory, with the state alone and restoring",
        f"{run['peak_gb_without']:.1f} GB, {run['restore_peak_gb']:.1f} GB",
      ),
    ],
  )


def _input(parts) -> str:
  bad, hostile = parts["bad_input"], parts["hostile"]
  return markdown_table(
    ("", ""),
    [
      (
        "mistakes and bad data that one message names",
        f"{bad['named']} of {bad['cases']}",
      ),
      ("lines of such a message, median", bad["median_lines"]),
      (
        "hostile files refused",
        f"{hostile['refused']} of {hostile['payloads']}",
      ),
      ("side effects of their code", hostile["side_effects"]),
    ],
  )
