"""Input speed: CPU time from a stored record to a row of a batch.

  python -m bench.bench_input --output=docs/input_speed.json

Everything is measured in one process, alternating, with the files in the page
cache: 36 regions of 2048 features, batches of 256, as in pretraining; and with
the probabilities of 1601 classes, which add 115 KB an example. The
official path is written here to the record format of the official code: a
pickled row of base64 float32 in LMDB, the global mean, padding, a stack. The
limit is a copy of the same number of bytes out of a memory-mapped file.
"""

import base64
import os
import pathlib
import pickle  # nosec B403 # measures what the official reader does
import statistics
import tempfile
import time

import numpy as np

from bench.measuring import anonymous_mb, in_turns, make_parser, write_result
from bench.random_data import (
  REGIONS,
  WIDTH,
  random_images,
  write_captions,
  write_images,
)

BATCH = 256
CLASSES = 1601


def write_official(path: pathlib.Path, count: int):
  """The LMDB of the official downstream code."""
  import lmdb

  env = lmdb.open(str(path), map_size=1 << 40)
  for image in random_images(count):
    row = {
      "image_id": image["image_id"],
      "image_w": str(image["width"]),
      "image_h": str(image["height"]),
      "num_boxes": str(REGIONS),
      "boxes": base64.b64encode(image["boxes"].tobytes()),
      "features": base64.b64encode(image["features"].tobytes()),
    }
    with env.begin(write=True) as transaction:
      transaction.put(image["image_id"].encode(), pickle.dumps(row))
  env.close()


def read_official(env, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """What the official reader and data set do for each example, and a batch."""
  features, locations = [], []
  for index in indices:
    with env.begin(write=False) as transaction:
      data = transaction.get(str(index).encode())
      row = pickle.loads(data)  # nosec B301 # this script wrote it just now
    width, height = int(row["image_w"]), int(row["image_h"])
    count = int(row["num_boxes"])
    feature = np.frombuffer(base64.b64decode(row["features"]), np.float32)
    feature = feature.reshape(count, WIDTH)
    boxes = np.frombuffer(base64.b64decode(row["boxes"]), np.float32)
    boxes = boxes.reshape(count, 4)
    mean = np.sum(feature, axis=0) / count
    feature = np.concatenate([mean[None], feature], axis=0)
    location = np.zeros((count, 5), np.float32)
    location[:, :4] = boxes
    area = (boxes[:, 3] - boxes[:, 1]) * (boxes[:, 2] - boxes[:, 0])
    location[:, 4] = area / (width * height)
    location[:, :4] /= [width, height, width, height]
    location = np.concatenate([[[0, 0, 1, 1, 1]], location], axis=0)
    padded = np.zeros((REGIONS + 1, WIDTH), np.float32)
    padded[: len(feature)] = feature
    places = np.zeros((REGIONS + 1, 5), np.float32)
    places[: len(location)] = location
    features.append(padded)
    locations.append(places)
  return np.stack(features), np.stack(locations)


def write_texts(root: pathlib.Path, count: int):
  words = write_captions(root / "captions.jsonl", count)
  special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
  (root / "vocab.txt").write_text("\n".join([*special, *words]) + "\n")


def open_data(
  root: pathlib.Path,
  store: str,
  *,
  engine: str = "auto",
  class_probs: bool = False,
):
  """Data of pretraining that reads a store, and keeps nothing in memory."""
  from input_pipeline.tasks.pretrain import PretrainData
  from input_pipeline.tasks.settings import PretrainInput

  settings = PretrainInput(
    store=str(root / store),
    annotations=str(root / "captions.jsonl"),
    vocab=str(root / "vocab.txt"),
    max_regions=REGIONS,
    max_text_length=REGIONS,
    cache_bytes=0,
  )
  return PretrainData(
    settings, split="train", seed=0, class_probs=class_probs, engine=engine
  )


def measure(root: pathlib.Path, *, images: int, repeats: int) -> dict:
  import lmdb

  from input_pipeline.store.buffers import BufferPool
  from input_pipeline.store.region_arrays import Slots, image_shapes
  from input_pipeline.store.region_store import RegionStore
  from input_pipeline.store.staged_writer import stage

  write_official(root / "official.lmdb", images)
  write_images(root / "store", images)
  write_images(root / "classes", images, classes=CLASSES)
  write_texts(root, images)
  store = RegionStore(root / "store")
  staged = stage(store, root / "staged", max_regions=REGIONS)
  stage(
    RegionStore(root / "classes"),
    root / "classes_staged",
    max_regions=REGIONS,
    class_probs=True,
  )
  env = lmdb.open(
    str(root / "official.lmdb"), readonly=True, lock=False, readahead=False
  )
  rng = np.random.default_rng(1)
  batches = [rng.integers(0, images, BATCH) for _ in range(8)]
  pool = BufferPool()
  cut = {"max_regions": REGIONS, "class_probs": False}
  shapes = image_shapes(store.layout, **cut)
  source = np.load(root / "staged/region_features-00000.npy", mmap_mode="r")
  target = np.empty((BATCH, REGIONS, WIDTH), np.float16)

  def copy_memory():
    for number in range(len(batches)):
      start = number * BATCH % (len(source) - BATCH + 1)
      np.copyto(target, source[start : start + BATCH])

  def read(source):
    for batch in batches:
      slots = Slots.new(shapes, BATCH, pool=pool)
      source.read_padded(batch, **cut, into=slots)

  def pipeline(path: str, engine: str, **options):
    data = open_data(root, path, engine=engine, **options)
    rows = data.train_batches(0, 1 << 20, batch_size=BATCH)

    def run():
      for _ in batches:
        next(rows)

    return run

  def settled(run):
    def way():
      run()
      time.sleep(0.1)  # what a pipeline reads ahead is its own work

    return way

  paths = {
    "official path": lambda: [read_official(env, b) for b in batches],
    "store, directly": lambda: read(store),
    "store, staged": lambda: read(staged),
    "whole pipeline, directly": pipeline("store", "tf.data"),
    "whole pipeline, staged": pipeline("staged", "tf.data"),
    "whole pipeline, staged, NumPy": pipeline("staged", "threads"),
    "… with classes, directly": pipeline(
      "classes", "tf.data", class_probs=True
    ),
    "… with classes, staged": pipeline(
      "classes_staged", "tf.data", class_probs=True
    ),
    "memcpy": copy_memory,
  }
  examples = len(batches) * BATCH
  ways = {name: settled(run) for name, run in paths.items()}
  cpu = {
    name: [seconds / examples for seconds in rounds]
    for name, rounds in in_turns(ways, repeats).items()
  }
  rates = {name: throughput(run, examples) for name, run in paths.items()}
  rows = {}
  limit = statistics.median(cpu["memcpy"])
  official = statistics.median(cpu["official path"])
  for name in paths:
    middle = statistics.median(cpu[name])
    rows[name] = {
      "cpu_us_per_example": middle * 1e6,
      "cpu_us_min": min(cpu[name]) * 1e6,
      "cpu_us_max": max(cpu[name]) * 1e6,
      "examples_per_cpu_second": 1 / middle,
      "examples_per_second": rates[name],
      "less_cpu_than_official": official / middle,
      "times_memcpy": middle / limit,
    }
  return {
    "regions": REGIONS,
    "width": WIDTH,
    "batch": BATCH,
    "images": images,
    "repeats": repeats,
    "bytes_per_example": REGIONS * WIDTH * 2,
    "cores": os.cpu_count(),
    "paths": rows,
    "start_at_step_1000000_s": start_late(root),
    "memory": None,
  }


def throughput(run, examples: int, *, seconds: float = 3.0) -> float:
  """Examples a second when a path runs for long, with all its threads."""
  run()  # what was read ahead while others were measured
  began, count = time.perf_counter(), 0
  while time.perf_counter() - began < seconds:
    run()
    count += examples
  return count / (time.perf_counter() - began)


def start_late(root: pathlib.Path) -> dict[str, float]:
  """Seconds to the first batch at step 1,000,000, and a large permutation."""
  from input_pipeline.batches.order import ExampleOrder

  data = open_data(root, "staged")
  began = time.perf_counter()
  next(data.train_batches(1_000_000, 1_000_001, batch_size=BATCH))
  first = time.perf_counter() - began
  began = time.perf_counter()
  order = ExampleOrder(3_300_000, seed=0)
  order.examples(1_000_000 * BATCH + np.arange(BATCH))
  return {
    "first_batch": first,
    "order_of_3.3_million": time.perf_counter() - began,
  }


def memory_over_steps(root: pathlib.Path, steps: int) -> dict[str, float]:
  """Megabytes resident after so many steps of the staged pipeline."""
  data = open_data(root, "staged")
  measured = {}
  began = time.perf_counter()
  for step, _ in enumerate(data.train_batches(0, steps, batch_size=BATCH), 1):
    if step in (100, 1000, steps):
      measured[str(step)] = anonymous_mb()
  measured["examples_per_second"] = (
    steps * BATCH / (time.perf_counter() - began)
  )
  return measured


def draw(result: dict, path: pathlib.Path):
  import matplotlib

  matplotlib.use("Agg")
  import matplotlib.pyplot as plt

  rows = result["paths"]
  names = list(rows)[::-1]
  values = [rows[name]["cpu_us_per_example"] for name in names]
  figure, axes = plt.subplots(figsize=(7.5, 3.2))
  colors = [
    "#9aa0a8" if n in ("memcpy", "official path") else "#0072b2" for n in names
  ]
  bars = axes.barh(names, values, color=colors)
  axes.bar_label(bars, [f" {v:,.0f} µs" for v in values])
  axes.set_xscale("log")
  axes.set_xlim(min(values) * 0.6, max(values) * 2.2)
  axes.set_xlabel("CPU time per example of 36 × 2048 float16, µs (logarithmic)")
  axes.spines[["top", "right"]].set_visible(False)
  figure.tight_layout()
  figure.savefig(path, dpi=120)


def main():
  parser = make_parser(__doc__, images=2048, repeats=7, steps=10_000)
  parser.add_argument("--plot", type=pathlib.Path)
  options = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    result = measure(root, images=options.images, repeats=options.repeats)
    if options.steps:
      result["memory"] = memory_over_steps(root, options.steps)
  write_result(result, options.output)
  if options.plot:
    draw(result, options.plot)


if __name__ == "__main__":
  main()
