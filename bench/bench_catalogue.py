"""Time and memory of ranking a large catalogue.

  ./run.sh
  python bench/bench_catalogue.py --output=docs/catalogue_speed.json

Items are images of eight random regions, in a region store that is written
first; topics are ranked by the quick start's checkpoint. Memory is the largest
resident set of recommend.py as a whole process. The same command afterwards
finds everything scored: what is left is reading and ranking.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np

REGIONS, WIDTH, BLOCKS = 8, 2048, 64
TEXTS = ("two boxes of popcorn", "a shrimp", "a rabbit and a screwdriver")


def records(count: int):
  rng = np.random.default_rng(0)
  blocks = rng.normal(size=(BLOCKS, REGIONS, WIDTH)).astype(np.float16)
  for i in range(count):
    corner = rng.uniform(0, 300, (REGIONS, 2))
    size = rng.uniform(20, 200, (REGIONS, 2))
    yield {
      "image_id": f"item{i:07d}",
      "width": 600,
      "height": 600,
      "features": blocks[i % BLOCKS],
      "boxes": np.concatenate([corner, corner + size], 1),
    }


def run(command: list[str]) -> dict[str, float]:
  began = time.monotonic()
  process = subprocess.Popen(  # nosec B603 # our own script
    command, cwd=ROOT, stderr=subprocess.DEVNULL
  )
  _, status, used = os.wait4(process.pid, 0)
  if status:
    raise SystemExit(f"{' '.join(command)}: failed")
  return {
    "seconds": time.monotonic() - began,
    "cpu_seconds": used.ru_utime + used.ru_stime,
    "peak_mb": used.ru_maxrss / 1024,
  }


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--items", type=int, default=100_000)
  parser.add_argument(
    "--workdir", type=pathlib.Path, default=ROOT / "runs/quickstart_openmoji"
  )
  parser.add_argument("--output", type=pathlib.Path)
  options = parser.parse_args()
  from input_pipeline.store.store_writer import write_store

  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    write_store(
      root / "items",
      records(options.items),
      feature_dim=WIDTH,
      source="random",
      extractor="none",
    )
    topics = "".join(
      json.dumps({"topic_id": str(n), "text": text}) + "\n"
      for n, text in enumerate(TEXTS)
    )
    (root / "topics.jsonl").write_text(topics)
    command = [
      sys.executable,
      "recommend.py",
      f"--workdir={options.workdir.absolute()}",
      f"--set=input.store={root / 'items'}",
      f"--topics={root / 'topics.jsonl'}",
      f"--output={root / 'ranking.jsonl'}",
    ]
    result = {
      "items": options.items,
      "topics": len(TEXTS),
      "store_mb": sum(
        path.stat().st_size for path in (root / "items").rglob("*")
      )
      / 2**20,
      "scoring": run(command),
      "again": run(command),
    }
  scoring = result["scoring"]["seconds"]
  result["pairs_per_second"] = options.items * len(TEXTS) / scoring
  print(json.dumps(result, indent=2))
  if options.output:
    options.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
  main()
