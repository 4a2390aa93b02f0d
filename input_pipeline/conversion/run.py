"""Runs a conversion: first the parts, then the store made of them.

Parts are written into a hidden directory beside the place of the store. An
interrupted conversion goes on with the parts that are there. The store appears
by one rename, when everything is on the disk.
"""

import contextlib
import fcntl
import functools
import json
import os
import pathlib
import shutil
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from input_pipeline.conversion import part as parts
from input_pipeline.conversion import repeats
from input_pipeline.conversion.plan import Plan, make_plan
from input_pipeline.conversion.runners import Runner, processes
from input_pipeline.conversion.settings import ConversionSettings
from input_pipeline.conversion.to_record import (
  BoxCounts,
  check_background,
  check_boxes,
)
from input_pipeline.formats.base import RegionFormat
from input_pipeline.store.shard import ShardFacts
from input_pipeline.store.store_writer import finish_store, publish
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import new_output
from interbert_jax.contract.json_file import read_json, write_json

PLAN = "plan.json"
CAPTIONS = "captions.jsonl"
SKIPPED = "skipped.txt"
# Options that change nothing in the parts that are converted already.
_LATE = ("on_repeated", "max_bad_boxes")


def convert(
  source: str | pathlib.Path,
  reader: RegionFormat,
  output: str | pathlib.Path,
  *,
  settings: ConversionSettings | None = None,
  workers: int = 1,
  sizes: str | pathlib.Path | None = None,
  extractor: str | None = None,
  restart: bool = False,
  runner: Runner | None = None,
) -> dict[str, Any]:
  """Converts a source into a new store and returns its manifest.

  Args:
    source: file or directory in the reader's format.
    reader: a format of registry.py.
    output: directory of the store; must not exist yet.
    settings: what to change on the way.
    workers: number of processes; 1 works in this process.
    sizes: a file of image sizes (plan.read_sizes), for sources without sizes.
    extractor: the detector, for the manifest; None for that of the format.
    restart: whether to throw away the parts of an interrupted run.
    runner: converts the parts; None for processes of this machine.
  """
  settings = settings or ConversionSettings()
  output = new_output(output)
  building = output.parent / f".{output.name}.unfinished-convert"
  if restart:
    shutil.rmtree(building, ignore_errors=True)
  building.mkdir(exist_ok=True)
  with _locked(building):
    plan = make_plan(
      pathlib.Path(source),
      reader,
      settings=settings,
      building=building,
      sizes=None if sizes is None else pathlib.Path(sizes),
    )
    _check_resumed(building, plan)
    todo = _todo(plan)
    if kept := len(plan.parts) - len(todo):
      print(
        f"{kept} of {len(plan.parts)} parts are kept from before",
        file=sys.stderr,
      )
    (runner or processes(workers))(plan, todo)
    return _finish(plan, output, extractor=extractor or reader.extractor)


def _todo(plan: Plan) -> list[int]:
  return [i for i in range(len(plan.parts)) if not parts.is_converted(plan, i)]


@contextlib.contextmanager
def _locked(building: pathlib.Path) -> Iterator[None]:
  """Locks the directory: two conversions would mix their parts."""
  with (building / "lock").open("w") as lock:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
      raise DataError(
        "another conversion is writing here",
        file=building,
        hint="wait for it, or choose another --output",
      ) from None
    yield


def _check_resumed(building: pathlib.Path, plan: Plan):
  """Refuses to go on with parts of another source, or of other settings."""
  path = building / PLAN
  content = plan.to_json()
  if not path.is_file():
    write_json(path, content)
    return
  before = read_json(path, kind=dict, hint="--restart throws it away")
  changed = sorted(k for k in content if before.get(k) != content[k])
  if _same_parts(before.get("options") or {}, content["options"]):
    changed = [key for key in changed if key != "options"]
  listed = isinstance(before.get("files"), list)
  if listed and set(changed) <= {"files", "parts", "sizes"}:
    parts.drop_changed(building, before, content)
    write_json(path, content)
    return
  if changed == ["provenance"]:
    changed = name_changes(before["provenance"], content["provenance"])
  raise DataError(
    f"an interrupted conversion lies here, with another {', '.join(changed)}",
    file=building,
    hint="--restart throws it away; or choose another --output",
  )


def _same_parts(before: dict[str, Any], now: dict[str, Any]) -> bool:
  """Whether parts that were converted with other options are the same."""
  late = set(_LATE)
  if before.get("on_bad_record") == "error":  # so nothing in them was bad
    late.add("on_bad_record")
  return all(before.get(k) == v for k, v in now.items() if k not in late)


def name_changes(before: dict | None, after: dict | None) -> list[str]:
  """Describes the differences between two provenances."""
  before, after = before or {}, after or {}
  return [
    f"{key} ({before.get(key)}, now {after.get(key)})"
    for key in sorted({*before, *after})
    if before.get(key) != after.get(key)
  ]


def _finish(
  plan: Plan, output: pathlib.Path, *, extractor: str
) -> dict[str, Any]:
  """Makes the store of the parts; an interrupted try begins anew."""
  store = pathlib.Path(plan.building) / "store"
  shutil.rmtree(store, ignore_errors=True)
  store.mkdir()
  numbers = range(len(plan.parts))
  facts = functools.partial(
    map, functools.partial(parts.read_facts, plan.building), numbers
  )
  counts, skipped, images, kept = BoxCounts(), 0, 0, []
  with (store / SKIPPED).open("w", encoding="utf-8") as file:
    for part in facts():
      counts.merge(part.counts)
      skipped += len(part.skipped)
      file.writelines(f"{line}\n" for line in part.skipped)
      images += part.shard.records
      kept.append(part.shard.records)
  if not skipped:
    (store / SKIPPED).unlink()
  check_background(counts, plan.reader, plan.settings, file=plan.source)
  check_boxes(counts, limit=plan.settings.max_bad_boxes, file=plan.source)
  again = repeats.find_repeats(
    facts, file=plan.source, on_repeated=plan.settings.on_repeated
  )
  kept = [n - len(again.rows.get(i, ())) for i, n in enumerate(kept)]
  has_captions = _write_captions(plan, store, facts(), again)
  manifest = finish_store(
    store,
    _shards(plan, store, facts(), again),
    num_shards=sum(n > 0 for n in kept),
    layout=plan.layout,
    about={
      "source": pathlib.Path(plan.source).name,
      "source_format": plan.reader.name,
      "extractor": extractor,
      "background_class": _background(plan),
      "region_order": _order(plan),
      "conversion": {
        **vars(plan.settings),
        "images_skipped": skipped,
        "images_repeated": again.count,
        "boxes_clipped": counts.clipped,
        "boxes_dropped": counts.dropped,
        "rows_of_padding": counts.padding,
        "images_of_nominal_size": counts.nominal_sizes,
        "images_without_boxes": counts.no_boxes,
      },
      "captions": CAPTIONS if has_captions else None,
      "provenance": plan.reader.provenance,
    },
  )
  publish(store, output)
  shutil.rmtree(plan.building)
  return manifest


def _background(plan: Plan) -> int | None:
  if plan.layout.num_classes is None:
    return None
  # Probabilities made of ids have a background, even if the source has none.
  made = plan.settings.classes != "source"
  given = made or plan.settings.background != "source"
  return 0 if given else plan.reader.background_class


def _order(plan: Plan) -> str:
  has_scores = (
    plan.layout.num_classes is not None
    or "class_scores" in plan.layout.optional
    or "box_scores" in plan.layout.optional
  )
  by_score = plan.settings.order == "score" and has_scores
  return "descending score" if by_score else "as stored"


def _shards(
  plan: Plan,
  store: pathlib.Path,
  facts: Iterable[parts.PartFacts],
  again: repeats.Repeats,
) -> Iterator[tuple[pathlib.Path, ShardFacts]]:
  """Links the shards into the store, without repeats and empty ones."""
  for index, part in enumerate(facts):
    drop = again.rows.get(index, set())
    if len(drop) == part.shard.records:
      continue
    source = parts.shard_path(plan.building, index)
    target = store / source.name
    if drop:
      yield (
        target,
        repeats.copy_without(
          source,
          target,
          drop,
          facts=part.shard,
          layout=plan.layout,
          compression=plan.settings.compression,
        ),
      )
      continue
    try:
      os.link(source, target)
    except OSError:  # a file system without links
      shutil.copyfile(source, target)
    yield target, part.shard


def _write_captions(
  plan: Plan,
  store: pathlib.Path,
  facts: Iterable[parts.PartFacts],
  again: repeats.Repeats,
) -> bool:
  """Writes captions that came with the regions; False if there are none."""
  path, has_captions = store / CAPTIONS, False
  with path.open("w", encoding="utf-8") as file:
    for index, part in enumerate(facts):
      drop = again.rows.get(index, set())
      for row, (image_id, caption) in enumerate(
        zip(part.shard.ids, part.captions, strict=False)
      ):
        if row in drop or not (caption and caption.strip()):
          continue
        every = [caption, *again.captions.get(image_id, [])]
        line = {
          "image_id": image_id,
          "split": plan.settings.split,
          "captions": list(dict.fromkeys(every)),
        }
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
        has_captions = True
  if not has_captions:
    path.unlink()
  return has_captions
