"""Time and memory of ranking a large catalogue.

  ./run.sh
  python bench/bench_catalogue.py --output=docs/catalogue_speed.json

Items are images of eight random regions, in a region store that is written
first; topics are ranked by the quick start's checkpoint. Memory is the largest
resident set of recommend.py as a whole process. The same command afterwards
finds everything scored: what is left is reading and ranking.
"""

import json
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import numpy as np

from bench.measuring import ROOT, make_parser, run_python, write_result

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


def run(*arguments: object) -> dict[str, float]:
  used = run_python(*arguments)
  return {
    "seconds": used.seconds,
    "cpu_seconds": used.cpu_seconds,
    "peak_mb": used.peak_mb,
  }


def main():
  parser = make_parser(__doc__)
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
      "scoring": run(*command),
      "again": run(*command),
    }
  scoring = result["scoring"]["seconds"]
  result["pairs_per_second"] = options.items * len(TEXTS) / scoring
  write_result(result, options.output)


if __name__ == "__main__":
  main()
