"""Time and memory of ranking a large catalogue.

  ./run.sh
  python -m bench.bench_catalogue --output=docs/catalogue_speed.json

Items are images of eight random regions, in a region store that is written
first; topics are ranked by the quick start's checkpoint. Memory is the largest
resident set of recommend.py as a whole process. The same command afterwards
finds everything scored: what is left is reading and ranking.
"""

import pathlib
import tempfile

from bench.measuring import ROOT, make_parser, run_python, write_result
from bench.random_data import write_images
from interbert_jax.contract import json_file

TEXTS = ("two boxes of popcorn", "a shrimp", "a rabbit and a screwdriver")


def run(*arguments: object) -> dict[str, float]:
  used = run_python(*arguments)
  return {
    "seconds": used.seconds,
    "cpu_seconds": used.cpu_seconds,
    "peak_mb": used.peak_mb,
  }


def main():
  parser = make_parser(__doc__, items=100_000)
  parser.add_argument(
    "--workdir", type=pathlib.Path, default=ROOT / "runs/quickstart_openmoji"
  )
  options = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    store = root / "items"
    write_images(store, options.items, regions=8)
    topics = [{"topic_id": str(n), "text": t} for n, t in enumerate(TEXTS)]
    json_file.write_lines(root / "topics.jsonl", topics)
    command = [
      "recommend.py",
      f"--workdir={options.workdir.absolute()}",
      f"--set=input.store={store}",
      f"--topics={root / 'topics.jsonl'}",
      f"--output={root / 'ranking.jsonl'}",
    ]
    size = sum(path.stat().st_size for path in store.rglob("*"))
    result = {
      "items": options.items,
      "topics": len(TEXTS),
      "store_mb": size / 2**20,
      "scoring": run(*command),
      "again": run(*command),
    }
  scoring = result["scoring"]["seconds"]
  result["pairs_per_second"] = options.items * len(TEXTS) / scoring
  write_result(result, options.output)


if __name__ == "__main__":
  main()
