"""Writes a region store: whole, or not at all."""

import itertools
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from input_pipeline.store import schema
from input_pipeline.store.host_tf import host_tensorflow
from input_pipeline.store.manifest import MANIFEST, manifest_fingerprint
from input_pipeline.store.region_store import SPLIT
from input_pipeline.store.schema import Layout
from input_pipeline.store.shard import ShardFacts, ShardWriter, Statistics
from input_pipeline.store.store_files import IMAGE_IDS, NUM_REGIONS
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import new_output, sync, whole
from interbert_jax.contract.json_file import write_json

NAME = "regions"  # the TFDS name, and the start of the shards' names


def write_store(
  directory: str | pathlib.Path,
  records: Iterable[Mapping[str, Any]],
  *,
  feature_dim: int,
  num_classes: int | None = None,
  feature_encoding: str = "float16",
  optional: tuple[str, ...] = (),
  source: str,
  extractor: str,
  background_class: int | None = None,
  records_per_shard: int = 1024,
  compression: str = "none",
) -> dict[str, Any]:
  """Writes the records, in their order, and returns the manifest.

  The store is built in a hidden directory beside its place, which gets its name
  at the very end: there is never an unfinished store at `directory`.

  Args:
    directory: must not exist yet.
    records: records of schema.py, with regions in descending order of score.
    feature_dim: E.
    num_classes: C if records have class_probs, else None.
    feature_encoding: float16, or 8 bits: uint8, int8.
    optional: the optional fields that records have.
    source: format and file that the records come from.
    extractor: the detector that made the features.
    background_class: the class that means no object, if there is one.
    records_per_shard: 1024 records of 36 regions are about 150 MB.
    compression: none (fast) or zstd (smaller where there are many zeros).
  """
  directory = new_output(directory)
  layout = Layout(feature_dim, num_classes, feature_encoding, optional)
  with whole(directory) as building:
    building.mkdir()
    shards = list(
      _write_shards(
        building,
        records,
        layout=layout,
        source=source,
        records_per_shard=records_per_shard,
        compression=compression,
      )
    )
    manifest = finish_store(
      building,
      shards,
      num_shards=len(shards),
      layout=layout,
      about={
        "source": source,
        "extractor": extractor,
        "background_class": background_class,
        "region_order": "descending score",
      },
    )
  return manifest


def _write_shards(
  building: pathlib.Path,
  records: Iterable[Mapping[str, Any]],
  *,
  layout: Layout,
  source: str,
  records_per_shard: int,
  compression: str,
) -> Iterator[tuple[pathlib.Path, ShardFacts]]:
  row_of_id: dict[str, int] = {}
  numbered = enumerate(records)
  for shard in itertools.count():
    first = next(numbered, None)
    if first is None:
      return
    path = building / f"shard-{shard}"
    with ShardWriter(path, layout, compression=compression) as writer:
      rest = itertools.islice(numbered, records_per_shard - 1)
      for row, record in itertools.chain([first], rest):
        writer.write(record, place=f"record {row}", file=source, index=row)
        image_id = record["image_id"]
        before = row_of_id.setdefault(image_id, row)
        if before != row:
          raise DataError(
            f"record {before} has this id too",
            file=source,
            record=f"{row} (image id {image_id!r})",
            field="image_id",
            hint="a store has one record per image",
          )
    yield path, writer.facts


def finish_store(
  building: pathlib.Path,
  shards: Iterable[tuple[pathlib.Path, ShardFacts]],
  *,
  num_shards: int,
  layout: Layout,
  about: Mapping[str, Any],
) -> dict[str, Any]:
  """Renames the shards and writes all other files, the manifest last.

  Args:
    building: the directory of the shards, which becomes the store.
    shards: path and facts of each shard, in order, none of them empty.
    num_shards: how many shards there are.
    layout: layout of the records.
    about: further fields of the manifest.

  Returns:
    The manifest.
  """
  if not num_shards:
    raise DataError("found no records", file=about["source"])
  entries, statistics = [], Statistics()
  num_regions: list[int] = []
  ids = (building / IMAGE_IDS).open("wb")
  for index, (path, facts) in enumerate(shards):
    place = building / (
      f"{NAME}-{SPLIT}.array_record-{index:05d}-of-{num_shards:05d}"
    )
    os.rename(path, place)
    ids.write("".join(f"{i}\n" for i in facts.ids).encode("utf-8"))
    num_regions += facts.num_regions
    statistics.merge(facts.statistics)
    entries.append(
      {
        "file": place.name,
        "records": facts.records,
        "bytes": facts.bytes,
        "sha256": facts.sha256,
      }
    )
  ids.close()
  if len(num_regions) == statistics.images:  # parts of old versions have none
    np.save(building / NUM_REGIONS, np.array(num_regions, np.int32))
  # From here on TFDS can open the directory: all shards are complete.
  _write_tfds_metadata(building, entries, layout=layout, source=about["source"])
  manifest = {
    "schema_version": schema.SCHEMA_VERSION,
    **asdict(layout),
    "optional": list(layout.optional),
    "box_convention": "x1, y1, x2, y2 in pixels of the image",
    **about,
    "num_images": statistics.images,
    "shards": entries,
    **statistics.summary(),
  }
  manifest["fingerprint"] = manifest_fingerprint(manifest)
  # Everything else must reach the disk before the manifest does.
  for path in building.iterdir():
    sync(path)
  write_json(building / MANIFEST, manifest, indent=1)
  return manifest


def publish(building: pathlib.Path, directory: pathlib.Path):
  """Gives a finished store its name."""
  os.rename(building, directory)
  sync(directory.parent)


def _write_tfds_metadata(
  building: pathlib.Path, shards: list[dict], *, layout: Layout, source: str
):
  import tensorflow_datasets as tfds

  host_tensorflow()
  tfds.folder_dataset.write_metadata(
    data_dir=str(building),
    features=schema.tfds_features(layout),
    split_infos=[
      tfds.core.SplitInfo(
        name=SPLIT,
        shard_lengths=[shard["records"] for shard in shards],
        num_bytes=sum(shard["bytes"] for shard in shards),
        filename_template=tfds.core.ShardedFileTemplate(
          data_dir=building,
          dataset_name=NAME,
          split=SPLIT,
          filetype_suffix="array_record",
        ),
      )
    ],
    description=f"Region features from {source}.",
    disable_shuffling=True,
    check_data=False,
  )
