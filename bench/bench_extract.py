"""Where extraction spends its time, and how it grows with workers.

  python -m bench.bench_extract --images=DIR --output=docs/extract_speed.json

Stages are timed in this process on one core; whole runs, of the folder --copies
times, are processes of their own, start and compilation included. Memory is the
largest resident set of any process of a run.
"""

import json
import os
import pathlib
import shutil
import tempfile
import time

import numpy as np

from bench.measuring import make_parser, run_python, write_result


class Stages:
  """Seconds spent in named stages, by the clock and of the processor.

  They differ where others use the machine.
  """

  def __init__(self):
    self.clock: dict[str, float] = {}
    self.processor: dict[str, float] = {}

  def time(self, name, function, *arguments, **options):
    began = time.perf_counter(), time.process_time()
    result = function(*arguments, **options)
    ended = time.perf_counter(), time.process_time()
    for seconds, start, stop in zip(
      (self.clock, self.processor), began, ended, strict=True
    ):
      seconds[name] = seconds.get(name, 0.0) + stop - start
    return result

  def per_image(self, seconds: dict[str, float], images: int) -> dict:
    shares = {name: spent / images for name, spent in seconds.items()}
    return shares | {"all": sum(shares.values())}


def measure_stages(folder: str) -> dict:
  from tools.extract.models import load_extractor
  from tools.extract.photos import list_photos, open_photo
  from tools.extract.regions import cut_crops
  from tools.extract.settings import RegionSettings

  settings, stages = RegionSettings(), Stages()
  extractor = stages.time("load", load_extractor, settings)
  names = list_photos(folder).names

  def run(names):
    for start in range(0, len(names), settings.batch_size):
      photos = [
        stages.time(
          "decode", open_photo, folder, name, max_side=settings.max_side
        )
        for name in names[start : start + settings.batch_size]
      ]
      boxes = stages.time("detect", extractor.find_boxes, photos)
      crops = [
        stages.time(
          "crop", cut_crops, photo, own.boxes_R4, side=settings.crop_size
        )
        for photo, own in zip(photos, boxes, strict=True)
      ]
      stages.time("encode", extractor.encode, np.concatenate(crops))

  run(names[: settings.batch_size])
  first = sum(stages.processor.values())
  stages.clock.clear()
  stages.processor.clear()
  run(names)
  return {
    "images": len(names),
    "load_and_compile_cpu_s": first,
    "seconds_per_image": stages.per_image(stages.clock, len(names)),
    "cpu_seconds_per_image": stages.per_image(stages.processor, len(names)),
  }


def measure_run(folder: pathlib.Path, images: int, workers: int) -> dict:
  with tempfile.TemporaryDirectory() as output:
    used = run_python(
      *("-m", "tools.extract", f"--images={folder}"),
      *(f"--output={output}/out", f"--workers={workers}"),
    )
    path = pathlib.Path(output) / "out/regions/manifest.json"
    manifest = json.loads(path.read_text())
  if manifest["num_images"] != images:
    raise SystemExit(f"{manifest['num_images']} of {images} images")
  return {
    "workers": workers,
    "images": images,
    "seconds": used.seconds,
    "seconds_per_image_and_core": used.seconds * workers / images,
    "cpu_seconds_per_image": used.cpu_seconds / images,
    "largest_process_mb": used.peak_mb,
    "fingerprint": manifest["fingerprint"],
  }


def main():
  parser = make_parser(__doc__, copies=1)
  parser.add_argument("--images", type=pathlib.Path, required=True)
  parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
  options = parser.parse_args()
  from tools.extract.__main__ import use_one_core

  use_one_core()  # before anything imports JAX
  from tools.extract.photos import list_photos

  folder = options.images.absolute()
  result = {
    "cores": os.cpu_count(),
    "stages": measure_stages(str(folder)),
    "runs": [],
  }
  with tempfile.TemporaryDirectory() as copies:
    for number in range(options.copies):
      shutil.copytree(folder, pathlib.Path(copies) / f"copy{number}")
    images = len(list_photos(copies).names)
    for workers in options.workers:
      row = measure_run(pathlib.Path(copies), images, workers)
      result["runs"].append(row)
  write_result(result, options.output)


if __name__ == "__main__":
  main()
