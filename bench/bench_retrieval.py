"""CPU time of scoring all pairs: the plain way against ours, in one run.

  python bench/bench_retrieval.py --output=docs/retrieval_speed.json

InterBERT-base with random weights; captions as long as those of Flickr30K
(about 14 word pieces), images of 36 regions, or of 10 to 100 (--adaptive). The
plain way is the official one: each pair padded to 30 text and 102 region slots
through the whole model with all of its heads.

One text meets all images in a step, so that no step is filled up with texts
that count for nothing, as hardly any is in an evaluation of thousands.
"""

import functools
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from bench.measuring import make_parser, write_result

TEXT_SLOTS, REGION_SLOTS = 30, 101  # with the global region 102


def make_sides(options):
  import numpy as np

  rng = np.random.default_rng(0)
  I, T = options.images, options.texts
  if options.adaptive:
    regions = rng.integers(10, 101, I)
  else:
    regions = np.full(I, 36)
  length = np.clip(rng.normal(14, 4, T).round(), 6, TEXT_SLOTS).astype(int)
  corner = rng.uniform(0, 300, (I, REGION_SLOTS, 2))
  box = np.concatenate([corner, corner + rng.uniform(20, 200, corner.shape)], 2)
  feature = np.maximum(rng.normal(size=(I, REGION_SLOTS, 2048)), 0)
  real = np.arange(REGION_SLOTS) < regions[:, None]
  ids = rng.integers(1000, 30000, (T, TEXT_SLOTS))
  ids[np.arange(TEXT_SLOTS) >= length[:, None]] = 0
  images = {
    "region_features": (feature * real[..., None]).astype(np.float16),
    "region_boxes": (box * real[..., None]).astype(np.float32),
    "image_size": np.full((I, 2), 600, np.int32),
    "num_regions": regions.astype(np.int32),
  }
  texts = {
    "text_ids": ids.astype(np.int32),
    "text_length": length.astype(np.int32),
  }
  return images, texts


def plain_scorer(params, images, texts, pairs: int):
  """Scores [T, I] as the official evaluation computes them."""
  import jax
  import jax.numpy as jnp
  import numpy as np

  from interbert_jax.model.config import make_config
  from interbert_jax.model.inputs import TextInput, region_input
  from interbert_jax.model.interbert import InterBert
  from interbert_jax.tasks.retrieval import pair_score
  from interbert_jax.weights.official_names import official_heads

  config = make_config("base")
  model = InterBert(config, official_heads(config))

  @jax.jit
  def score(params, ids, length, features, boxes, size, count):
    mask = jnp.arange(ids.shape[1]) < length[:, None]
    found = model.apply(
      {"params": params},
      TextInput(ids, mask),
      region_input(features, boxes, size, count),
    )
    # All heads are returned, so that none is optimised away.
    return pair_score({"match_head": found["match_head"]}), found

  def run():
    T, I = len(texts["text_length"]), len(images["num_regions"])
    text, image = np.divmod(np.arange(T * I), I)
    out = []
    for a in range(0, T * I, pairs):
      t, i = text[a : a + pairs], image[a : a + pairs]
      scores, heads = score(
        params,
        texts["text_ids"][t],
        texts["text_length"][t],
        *(images[key][i] for key in images),
      )
      jax.block_until_ready(heads)
      out.append(scores)
    return np.concatenate(out).reshape(T, I)

  return run


def main():
  parser = make_parser(__doc__)
  parser.add_argument("--texts", type=int, default=24)
  parser.add_argument("--images", type=int, default=16)
  parser.add_argument("--pairs", type=int, default=16, help="at once")
  parser.add_argument("--repeats", type=int, default=2)
  parser.add_argument("--adaptive", action="store_true")
  parser.add_argument("--output", type=pathlib.Path)
  options = parser.parse_args()
  import jax
  import numpy as np

  from interbert_jax.model.config import make_config
  from interbert_jax.model.inputs import TextInput, region_input
  from interbert_jax.model.interbert import InterBert
  from interbert_jax.parallel import make_parallel
  from interbert_jax.ranking import matrix_scorer
  from interbert_jax.tasks.retrieval import SCORES
  from interbert_jax.weights.official_names import official_heads

  # As many shapes as a whole evaluation would have.
  matrix_scorer._PAIRS_PER_SHAPE = 1
  images, texts = make_sides(options)
  config = make_config("base")
  regions = region_input(*(images[key][:1] for key in images))
  text = TextInput(texts["text_ids"][:1], np.ones((1, TEXT_SLOTS), bool))
  whole = InterBert(config, official_heads(config))
  init = functools.partial(whole.init, jax.random.key(0), text, regions)
  params = jax.jit(init)()["params"]
  # Larger weights than fresh ones, so that scores differ.
  params = jax.tree.map(lambda x: 2 * x if x.ndim > 1 else x, params)
  scorer = matrix_scorer.MatrixScorer(
    model=InterBert(config, SCORES["match"]),
    parallel=make_parallel(),
    texts=texts,
    pairs_per_step=options.pairs,
  )
  ways = {
    "plain": plain_scorer(params, images, texts, options.pairs),
    "ours": lambda: scorer.scores(params, images),
  }
  found = {name: way() for name, way in ways.items()}  # compiles
  times: dict[str, list[float]] = {name: [] for name in ways}
  for _ in range(options.repeats):
    for name, way in ways.items():
      began = time.process_time()
      way()
      times[name].append(time.process_time() - began)
  result = {
    "pairs": found["plain"].size,
    "regions": "10 to 100" if options.adaptive else "36",
    "cpu_seconds": times,
    "ratio": min(times["plain"]) / min(times["ours"]),
    "largest_difference": float(np.abs(found["plain"] - found["ours"]).max()),
    "spread_of_scores": float(np.ptp(found["plain"])),
  }
  write_result(result, options.output)


if __name__ == "__main__":
  main()
