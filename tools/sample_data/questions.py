"""Questions about the sample scenes, in the files of VCR and VQA v2.

  vcr/{train,val,test}.jsonl                  VCR's questions; test unlabelled
  images/*.json                               VCR's metadata, beside each image
  regions_objects/                            region store of the objects alone
  vqa/v2_OpenEnded_scenes_*_questions.json    VQA's questions
  vqa/v2_scenes_*_annotations.json            ten answers each; none of test

They are made of the scenes and of the region store that is there already, so
that a folder from before gets them too.
"""

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from interbert_jax.contract import json_file
from interbert_jax.contract.errors import DataError
from interbert_jax.contract.files import whole
from tools.sample_data.question_kinds import vcr_questions, vqa_questions
from tools.sample_data.scenes import SPLITS, Scene, make_scenes, scene_rng
from tools.sample_data.sources import Source

MARK = "questions.json"
VERSION = 1  # raise it when the same seed gives other questions
_UNLABELLED = "test"
# The purposes of scene_rng.
_VCR, _VQA = 11, 12


def has_questions(folder: Path) -> bool:
  """Whether the questions of this version are there, whole."""
  try:
    return json_file.read_object(folder / MARK) == {"version": VERSION}
  except DataError:
    return False


def add_questions(
  folder: Path, source: Source, *, mark: Mapping[str, object]
) -> None:
  """Writes what is not of captions; the mark comes last.

  Args:
    folder: with the images and the region store of the same scenes.
    source: that made them.
    mark: what sample.json says.
  """
  numbers, seed = mark["scenes"], mark["seed"]
  (folder / MARK).unlink(missing_ok=True)
  for name in ("vcr", "vqa", "regions_objects"):
    shutil.rmtree(folder / name, ignore_errors=True)
  with contextlib.ExitStack() as stack:
    vcr, vqa = (stack.enter_context(whole(folder / n)) for n in ("vcr", "vqa"))
    vcr.mkdir()
    vqa.mkdir()
    scenes = []
    for split in SPLITS:
      here = list(make_scenes(source.artist, split, numbers[split], seed=seed))
      _write_vcr(vcr, split, here, source, seed)
      _write_vqa(vqa, split, here, source, seed)
      for scene in here:
        path = folder / "images" / f"{scene.scene_id}.json"
        _write_json(path, _metadata(scene, source))
      scenes += here
    _write_objects(folder / "regions_objects", folder, scenes, mark)
  _write_json(folder / MARK, {"version": VERSION})


def _write_json(path: Path, value: object) -> None:
  path.write_text(json_file.dumps(value) + "\n", encoding="utf-8")


def _write_vcr(
  folder: Path, split: str, scenes: list[Scene], source: Source, seed: int
) -> None:
  rows: list[dict] = []
  for index, scene in enumerate(scenes):
    rng = scene_rng(seed, split, index, _VCR)
    for question in vcr_questions(scene, source.artist.nouns, rng):
      if split == _UNLABELLED:
        del question["answer_label"], question["rationale_label"]
      ids = {
        "img_fn": f"{scene.scene_id}.png",
        "metadata_fn": f"{scene.scene_id}.json",
        "img_id": f"{split}-{index}",
        "annot_id": f"{split}-{len(rows)}",
      }
      rows.append({"movie": "scenes", **question, **ids})
  json_file.write_lines(folder / f"{split}.jsonl", rows)


def _metadata(scene: Scene, source: Source) -> dict:
  nouns = source.artist.nouns
  return {
    "boxes": [[*thing.box, 1.0] for thing in scene.objects],
    "names": [nouns[thing.class_index].en[0][0] for thing in scene.objects],
    "segms": [[] for _ in scene.objects],
    "width": scene.image.width,
    "height": scene.image.height,
  }


def _write_vqa(
  folder: Path, split: str, scenes: list[Scene], source: Source, seed: int
) -> None:
  questions, annotations = [], []
  for index, scene in enumerate(scenes):
    rng = scene_rng(seed, split, index, _VQA)
    for question, annotation in vqa_questions(scene, source.artist.nouns, rng):
      ids = {"image_id": scene.scene_id, "question_id": len(questions)}
      questions.append({**ids, **question})
      annotations.append({**ids, **annotation})
  shared = {"data_type": "scenes", "data_subtype": split}
  _write_json(
    folder / f"v2_OpenEnded_scenes_{split}_questions.json",
    {**shared, "task_type": "Open-Ended", "questions": questions},
  )
  if split != _UNLABELLED:
    _write_json(
      folder / f"v2_scenes_{split}_annotations.json",
      {**shared, "annotations": annotations},
    )


def _write_objects(
  output: Path, folder: Path, scenes: list[Scene], mark: Mapping[str, object]
) -> None:
  """A region store of the objects: the first regions of the other store."""
  from input_pipeline.store.region_store import RegionStore

  # Imports TensorFlow, which takes seconds.
  from input_pipeline.store.store_writer import write_store

  store = RegionStore(folder / "regions")
  rows = store.rows([scene.scene_id for scene in scenes])

  def records() -> Iterator[dict]:
    for scene, row in zip(scenes, rows, strict=True):
      (record,) = store.read([row])
      count = len(scene.objects)
      exact = np.array([thing.box for thing in scene.objects], np.float32)
      if not np.array_equal(record["boxes"][:count], exact):
        raise DataError(
          f"{folder / 'regions'}: the first regions of {scene.scene_id!r} are "
          "not its objects; build the sample data anew with --overwrite"
        )
      del record["num_regions"]  # the writer counts them
      for key in ("features", "boxes", "class_probs"):
        record[key] = record[key][:count]
      yield record

  write_store(
    output,
    records(),
    feature_dim=store.feature_dim,
    num_classes=store.num_classes,
    background_class=store.manifest.get("background_class"),
    source=f"tools.sample_data {mark['mode']}, seed {mark['seed']}, objects",
    extractor=store.manifest["extractor"],
  )
