"""Captions of other images that say nearly the same, by TF-IDF similarity.

The paper's later versions use, for a share of the mismatched pairs, the 30
captions of the highest TF-IDF similarity among those below 0.5: near enough to
be hard, far enough not to be true. Which terms, weights and pool the paper uses
is not published; here terms are words, or character n-grams for Chinese, with
smoothed idf and cosine similarity, as scikit-learn computes them.

Dimensions: N captions, P captions of the pool, K candidates.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from interbert_jax.contract.errors import DataError, import_optional
from interbert_jax.contract.progress import SILENT, Progress
from interbert_jax.contract.settings import Settings, setting

PER_CAPTION = 30
BLOCK = 4096  # captions compared with the pool at a time
_ROUNDING = 1e-6  # error of float32 similarities
_SPARE = 3  # times K candidates are compared first: some will be left out
_WORD = r"(?u)\b\w+\b"
ANALYZERS = {
  "word": {"analyzer": "word", "token_pattern": _WORD},
  "char": {"analyzer": "char", "ngram_range": (1, 2)},
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SimilarCaptions(Settings):
  """Which captions count as similar."""

  max_similarity: float = setting(
    0.5, "captions as similar as this may be true, and are left out", high=1
  )
  min_similarity: float = setting(
    0.05, "captions less similar than this are no hard negatives", low=0
  )
  analyzer: str = setting(
    "word",
    "char: 1- and 2-grams, for text without spaces, such as Chinese",
    choices=tuple(ANALYZERS),
  )
  pool: int | None = setting(
    None,
    "compare with so many captions, drawn at random; time grows with "
    "captions x pool; all by default",
    low=2,
  )
  seed: int = setting(0, "seed of all random choices")
  threads: int = setting(1, "threads that compare captions", low=1)

  def check(self):
    if self.min_similarity >= self.max_similarity:
      yield (
        f"similarity is {self.min_similarity} to {self.max_similarity}; wanted "
        "min_similarity < max_similarity"
      )


def mine_captions(
  texts: Sequence[str],
  image_of_text: np.ndarray,
  rules: SimilarCaptions,
  *,
  per_caption: int = PER_CAPTION,
  progress: Progress = SILENT,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Yields (candidates [n, K] int32, similarities [n, K]) of each block.

  Args:
    texts: [N] captions.
    image_of_text: [N] the image of each; an image's own captions are left out.
    rules: which captions count as similar.
    per_caption: K.
    progress: counts captions.
  """
  sparse = import_optional("sparse_dot_topn", package="sparse-dot-topn")
  terms_NT = _vectorise(texts, rules)
  pool_P = np.arange(len(texts))
  if rules.pool is not None and rules.pool < len(texts):
    rng = np.random.default_rng(rules.seed)
    pool_P = np.sort(rng.choice(len(texts), rules.pool, replace=False))
  pool_TP = terms_NT[pool_P].T.tocsr()

  def compare(rows, count: int):
    """The `count` most similar captions of the pool, as a sparse matrix."""
    similar = sparse.sp_matmul_topn(
      terms_NT[rows],
      pool_TP,
      top_n=count,
      threshold=rules.min_similarity,
      sort=True,
      n_threads=rules.threads,
    )
    return similar.indptr, pool_P[similar.indices], similar.data

  for start in range(0, len(texts), BLOCK):
    rows = np.arange(start, min(start + BLOCK, len(texts)))
    candidates = np.full((len(rows), per_caption), -1, np.int32)
    scores = np.zeros((len(rows), per_caption), np.float32)
    todo, count = np.arange(len(rows)), _SPARE * per_caption
    while len(todo):
      starts, indices, values = compare(rows[todo], count)
      short = []
      for place, (a, b) in enumerate(zip(starts, starts[1:], strict=False)):
        row = rows[todo[place]]
        keep = values[a:b] < rules.max_similarity - _ROUNDING
        keep &= image_of_text[indices[a:b]] != image_of_text[row]
        kept = np.flatnonzero(keep)[:per_caption]
        # Too many were left out: compare again, with more candidates.
        if len(kept) < per_caption and b - a == count < len(pool_P):
          short.append(todo[place])
          continue
        candidates[todo[place], : len(kept)] = indices[a:b][kept]
        scores[todo[place], : len(kept)] = values[a:b][kept]
      todo, count = np.array(short, np.int64), min(4 * count, len(pool_P))
    progress.advance(len(rows))
    yield candidates, scores


def _vectorise(texts: Sequence[str], rules: SimilarCaptions):
  """[N, T] sparse float32; rows of length 1."""
  tfidf = import_optional(
    "sklearn.feature_extraction.text", package="scikit-learn"
  )
  vectoriser = tfidf.TfidfVectorizer(
    dtype=np.float32, lowercase=True, **ANALYZERS[rules.analyzer]
  )
  try:
    return vectoriser.fit_transform(texts).tocsr()
  except ValueError as e:
    raise DataError(f"no terms in the captions: {e}") from None
