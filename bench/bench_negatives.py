"""How long mining hard captions takes, and what it needs of memory.

  python -m bench.bench_negatives --output=docs/negatives_speed.json

Captions are random, but common words are common: comparing all with all costs
what common words cost. Time is that of the whole command, memory its largest
resident set.
"""

import pathlib
import tempfile

from bench.measuring import make_parser, run_python, write_result
from bench.random_data import PER_IMAGE, write_captions, write_images


def mine(root: pathlib.Path, *flags: str) -> dict[str, float]:
  used = run_python(
    *("-m", "input_pipeline.mine_negatives", f"--store={root / 'store'}"),
    f"--annotations={root / 'captions.jsonl'}",
    *(f"--output={root / 'table'}{'-'.join(flags)}", "--threads=2", *flags),
  )
  return {"seconds": used.seconds, "largest_resident_mb": used.peak_mb}


def main():
  parser = make_parser(__doc__, pool=25_000)
  parser.add_argument(
    "--captions", type=int, nargs="+", default=[25_000, 50_000, 100_000]
  )
  options = parser.parse_args()
  rows = []
  for count in options.captions:
    with tempfile.TemporaryDirectory() as folder:
      root = pathlib.Path(folder)
      images = count // PER_IMAGE
      write_images(root / "store", images, regions=1, width=8)  # not read
      write_captions(root / "captions.jsonl", images)
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
