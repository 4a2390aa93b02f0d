"""CPU time of scoring all pairs: the plain way against ours, in one run.

  python -m bench.bench_retrieval --output=docs/retrieval_speed.json

InterBERT-base with random weights; captions as long as those of Flickr30K
(about 14 word pieces), images of 36 regions, or of 10 to 100 (--adaptive);
--pairs are scored at once. The plain way is the official one: each pair padded
to 30 text and 102 region slots through the whole model with all of its heads.

One text meets all images in a step, so that no step is filled up with texts
that count for nothing, as hardly any is in an evaluation of thousands.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from bench.measuring import in_turns, make_parser, write_result
from interbert_jax.model.config import make_config
from interbert_jax.model.inputs import TextInput, region_input
from interbert_jax.model.interbert import InterBert
from interbert_jax.parallel import make_parallel
from interbert_jax.ranking import matrix_scorer
from interbert_jax.tasks.retrieval import SCORES, pair_score
from interbert_jax.weights.official_names import official_heads

TEXT_SLOTS, REGION_SLOTS = 30, 101  # with the global region 102


def make_sides(options):
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
  config = make_config("base")
  model = InterBert(config, official_heads(config))

  @jax.jit
  def score(params, ids, length, features, boxes, size, count):
    mask = jnp.arange(ids.shape[1]) < length[:, None]
    heads = model.apply(
      {"params": params},
      TextInput(ids, mask),
      region_input(features, boxes, size, count),
    )
    # All heads are returned, so that none is optimised away.
    return pair_score({"match_head": heads["match_head"]}), heads

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
  parser = make_parser(__doc__, texts=24, images=16, pairs=16, repeats=2)
  parser.add_argument("--adaptive", action="store_true")
  options = parser.parse_args()
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
  scores = {name: way() for name, way in ways.items()}
  times = in_turns(ways, options.repeats)
  result = {
    "pairs": scores["plain"].size,
    "regions": "10 to 100" if options.adaptive else "36",
    "cpu_seconds": times,
    "ratio": min(times["plain"]) / min(times["ours"]),
    "largest_difference": float(np.abs(scores["plain"] - scores["ours"]).max()),
    "spread_of_scores": float(np.ptp(scores["plain"])),
  }
  write_result(result, options.output)


if __name__ == "__main__":
  main()
