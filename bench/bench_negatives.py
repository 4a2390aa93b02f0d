"""How long mining hard captions takes, and what it needs of memory.

  python bench/bench_negatives.py --output=docs/negatives_speed.json

Captions are drawn word by word from the word pairs of a few thousand invented
sentences, so that common words are common: comparing all with all costs what
common words cost. Time is that of the whole command, memory its largest
resident set.
"""

import json
import pathlib
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from bench.measuring import make_parser, run_python, write_result

IMAGES_WIDTH = 8  # features are not read for captions
PER_IMAGE = 5
VOCABULARY = 6000
MEAN_LENGTH = 10.5  # words, as COCO's captions have


def write_captions(root: pathlib.Path, count: int):
  """Captions whose words have frequencies as in a natural text."""
  from input_pipeline.store.store_writer import write_store

  rng = np.random.default_rng(0)
  ranks = np.arange(1, VOCABULARY + 1)
  share = 1 / ranks  # Zipf
  share /= share.sum()
  images = count // PER_IMAGE
  boxes = np.array([[0, 0, 10, 10]], np.float32)
  write_store(
    root / "store",
    (
      {
        "image_id": str(i),
        "width": 10,
        "height": 10,
        "features": np.ones((1, IMAGES_WIDTH), np.float16),
        "boxes": boxes,
      }
      for i in range(images)
    ),
    feature_dim=IMAGES_WIDTH,
    source="ones",
    extractor="none",
  )
  with (root / "captions.jsonl").open("w") as file:
    for i in range(images):
      lengths = np.maximum(rng.poisson(MEAN_LENGTH, PER_IMAGE), 3)
      captions = [
        " ".join(f"w{w}" for w in rng.choice(VOCABULARY, n, p=share))
        for n in lengths
      ]
      line = {"image_id": str(i), "split": "train", "captions": captions}
      file.write(json.dumps(line) + "\n")


def mine(root: pathlib.Path, *flags: str) -> dict[str, float]:
  used = run_python(
    *("-m", "input_pipeline.mine_negatives", f"--store={root / 'store'}"),
    f"--annotations={root / 'captions.jsonl'}",
    *(f"--output={root / 'table'}{'-'.join(flags)}", "--threads=2", *flags),
  )
  return {"seconds": used.seconds, "largest_resident_mb": used.peak_mb}


def main():
  parser = make_parser(__doc__)
  parser.add_argument(
    "--captions", type=int, nargs="+", default=[25_000, 50_000, 100_000]
  )
  parser.add_argument("--pool", type=int, default=25_000)
  parser.add_argument("--output", type=pathlib.Path)
  options = parser.parse_args()
  rows = []
  for count in options.captions:
    with tempfile.TemporaryDirectory() as folder:
      root = pathlib.Path(folder)
      write_captions(root, count)
      for pool in (None, options.pool):
        if pool is not None and pool >= count:
          continue
        flags = () if pool is None else (f"--pool={pool}",)
        row = {"captions": count, "pool": pool or count, **mine(root, *flags)}
        row["ns_per_comparison"] = (
          row["seconds"] / (row["captions"] * row["pool"]) * 1e9
        )
        rows.append(row)
        print(row, flush=True)
  slowest = max(row["ns_per_comparison"] for row in rows[-2:])
  hours = 3_000_000 * 100_000 * slowest / 1e9 / 3600
  print(f"3,000,000 captions, pool of 100,000: about {hours:.1f} h")
  result = {"threads": 2, "runs": rows, "hours_of_3_million": hours}
  write_result(result, options.output)


if __name__ == "__main__":
  main()
