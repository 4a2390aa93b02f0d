"""Memory and speed of converting 20,000 images, and what 8 bits cost.

  python -m bench.bench_convert --output=docs/convert_speed.json

The source is LXMERT's TSV with 36 regions of 2048 features (7.9 GB, written
first, into --folder). Memory is the largest anonymous resident set of the
converting process, above what it is before; the page cache is not its own.
"""

import base64
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np

from bench.measuring import ROOT, anonymous_mb, make_parser, write_result
from bench.random_data import REGIONS, random_images


def write_source(path: pathlib.Path, count: int):
  rng = np.random.default_rng(0)

  def b64(array, dtype) -> bytes:
    return base64.b64encode(np.ascontiguousarray(array, dtype))

  ids = b64(rng.integers(0, 400, REGIONS), "<i8")
  scores = b64(rng.uniform(0.2, 0.9, REGIONS), "<f4")
  with path.open("wb") as file:
    for index, image in enumerate(random_images(count)):
      row = [b"COCO_train2014_%012d" % index, b"480", b"640"]
      row += [ids, scores, ids, scores, b"%d" % REGIONS]
      row += [b64(image[key], "<f4") for key in ("boxes", "features")]
      file.write(b"\t".join(row) + b"\n")


def children(process: int) -> list[int]:
  try:
    path = pathlib.Path(f"/proc/{process}/task/{process}/children")
    own = [int(word) for word in path.read_text().split()]
  except FileNotFoundError:
    return []
  return own + [c for child in own for c in children(child)]


CONVERT = """
import pathlib, sys
from input_pipeline.formats import registry
from input_pipeline.conversion.settings import ConversionSettings
from input_pipeline.conversion import run
source = pathlib.Path(sys.argv[1])
reader, _ = registry.find_format(source)
print("ready", flush=True)
sys.stdin.readline()
run.convert(
  source, reader, sys.argv[2],
  settings=ConversionSettings(features=sys.argv[3]), workers=int(sys.argv[4]),
)
"""


def convert(source, output, *, features: str, workers: int) -> dict:
  """Converts in a process of its own, watched from here."""
  arguments = [sys.executable, "-c", CONVERT, source, output, features, workers]
  process = subprocess.Popen(  # nosec B603 # our own script
    list(map(str, arguments)),
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
    cwd=ROOT,
  )
  process.stdout.readline()
  start = largest = anonymous_mb(process.pid)
  began = time.perf_counter()
  process.stdin.write("\n")
  process.stdin.flush()
  highest_of_all = start

  def watch():
    nonlocal largest, highest_of_all
    while process.poll() is None:
      try:
        own = anonymous_mb(process.pid)
        rest = [anonymous_mb(child) for child in children(process.pid)]
      except (OSError, ValueError):
        continue
      largest = max(largest, own, *rest)
      highest_of_all = max(highest_of_all, own + sum(rest))
      time.sleep(0.05)

  thread = threading.Thread(target=watch)
  thread.start()
  status = process.wait()
  thread.join()
  seconds = time.perf_counter() - began
  if status != 0:
    raise RuntimeError(f"the conversion ended with {status}")
  manifest = json.loads((pathlib.Path(output) / "manifest.json").read_text())
  return {
    "features": features,
    "workers": workers,
    "images": manifest["num_images"],
    "images_per_second": manifest["num_images"] / seconds,
    "memory_at_start_mb": start,
    "memory_above_start_mb": largest - start,
    "memory_of_all_processes_above_start_mb": highest_of_all - start,
    "bytes_per_image": sum(s["bytes"] for s in manifest["shards"])
    / manifest["num_images"],
    "quantisation_error": manifest.get("quantisation_error"),
  }


def main():
  parser = make_parser(__doc__, images=20_000)
  parser.add_argument("--folder", type=pathlib.Path, help="for 15 GB of files")
  options = parser.parse_args()
  rows = []
  with tempfile.TemporaryDirectory(dir=options.folder) as folder:
    source = pathlib.Path(folder) / "train.tsv"
    write_source(source, options.images)
    for features, workers in (("float16", 1), ("float16", 2), ("uint8", 1)):
      store = source.with_name("store")
      rows.append(convert(source, store, features=features, workers=workers))
      print(f"{features}, {workers} workers: done", flush=True)
      shutil.rmtree(store)
  write_result({"cores": os.cpu_count(), "runs": rows}, options.output)


if __name__ == "__main__":
  main()
