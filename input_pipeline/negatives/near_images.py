"""Images that look alike: nearest mean region features.

Fine-tuning for retrieval takes hard images from the 100 nearest training images
by Euclidean distance of the mean region feature (ViLBERT and the official
code). They are exact, by a matrix product in blocks, or approximate, by an
inverted file (faiss) whose recall is measured on a sample.

Dimensions: N images, E feature width, K neighbours, Q queries.
"""

import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from interbert_jax.contract.errors import import_optional
from interbert_jax.contract.progress import SILENT, Progress

_READ = 256  # images read at a time
_QUERIES = 1024  # rows of a block of distances
_COLUMNS = 16384
RECALL_SAMPLE = 1000


def mean_features(
  store,
  rows: Sequence[int] | np.ndarray,
  path: pathlib.Path,
  *,
  progress: Progress = SILENT,
) -> np.ndarray:
  """[N, E] float32 mean region features, in a memory-mapped file."""
  shape = (len(rows), store.feature_dim)
  means_NE = np.lib.format.open_memmap(
    path, mode="w+", dtype=np.float32, shape=shape
  )
  for start in range(0, len(rows), _READ):
    part = rows[start : start + _READ]
    for place, record in enumerate(store.read(part), start):
      means_NE[place] = record["features"].mean(axis=0, dtype=np.float32)
    progress.advance(len(part))
  return means_NE


def exact_neighbours(
  means_NE: np.ndarray,
  queries: np.ndarray,
  count: int,
  *,
  progress: Progress = SILENT,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Yields (neighbours [q, K] int32, distances [q, K]), nearest first.

  An image is not among its own neighbours. Memory holds one block of distances
  and the nearest images so far.
  """
  count = min(count, len(means_NE) - 1)
  norms_N = np.concatenate(
    [
      np.square(means_NE[a : a + _COLUMNS]).sum(axis=1)
      for a in range(0, len(means_NE), _COLUMNS)
    ]
  )
  for start in range(0, len(queries), _QUERIES):
    rows = queries[start : start + _QUERIES]
    wanted_QE = means_NE[rows]
    best = np.full((len(rows), count), -1, np.int64)
    best_squares = np.full((len(rows), count), np.inf, np.float32)
    for first in range(0, len(means_NE), _COLUMNS):
      others_ME = means_NE[first : first + _COLUMNS]
      squares = wanted_QE @ others_ME.T
      squares *= -2
      squares += norms_N[rows][:, None]
      squares += norms_N[first : first + len(others_ME)]
      own = rows - first
      inside = (own >= 0) & (own < len(others_ME))
      squares[np.flatnonzero(inside), own[inside]] = np.inf
      squares = np.concatenate([best_squares, squares], axis=1)
      chosen = np.argpartition(squares, count - 1, axis=1)[:, :count]
      best_squares = np.take_along_axis(squares, chosen, axis=1)
      before = np.take_along_axis(best, np.minimum(chosen, count - 1), axis=1)
      best = np.where(chosen < count, before, first + chosen - count)
    order = np.argsort(best_squares, axis=1, kind="stable")
    best = np.take_along_axis(best, order, axis=1)
    best_squares = np.take_along_axis(best_squares, order, axis=1)
    progress.advance(len(rows))
    yield best.astype(np.int32), np.sqrt(np.maximum(best_squares, 0))


def approximate_neighbours(
  means_NE: np.ndarray,
  count: int,
  *,
  probes: int = 16,
  seed: int = 0,
  progress: Progress = SILENT,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """The neighbours of all images, searched in the nearest `probes` cells."""
  faiss = import_optional(
    "faiss", package="faiss-cpu", otherwise="leave --approximate out"
  )
  N, E = means_NE.shape
  count = min(count, N - 1)
  cells = max(1, min(int(4 * N**0.5), N // 40))
  quantiser = faiss.IndexFlatL2(E)
  index = faiss.IndexIVFScalarQuantizer(
    quantiser, E, cells, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_L2
  )
  rng = np.random.default_rng(seed)
  sample = np.sort(rng.choice(N, min(N, 64 * cells), replace=False))
  index.train(np.ascontiguousarray(means_NE[sample]))
  for start in range(0, N, _COLUMNS):
    index.add(np.ascontiguousarray(means_NE[start : start + _COLUMNS]))
  index.nprobe = min(probes, cells)
  for start in range(0, N, _QUERIES):
    rows = np.arange(start, min(start + _QUERIES, N))
    squares, names = index.search(
      np.ascontiguousarray(means_NE[rows]), count + 1
    )
    # The image itself is among its neighbours, nearly always the first.
    squares[names == rows[:, None]] = np.inf
    names[names == rows[:, None]] = -1
    order = np.argsort(np.where(names < 0, np.inf, squares), 1, kind="stable")
    order = order[:, :count]
    names = np.take_along_axis(names, order, axis=1)
    squares = np.take_along_axis(squares, order, axis=1)
    progress.advance(len(rows))
    distances = np.sqrt(np.where(names < 0, 0, np.maximum(squares, 0)))
    yield names.astype(np.int32), distances


def recall(
  means_NE: np.ndarray, neighbours_NK: np.ndarray, *, seed: int = 0
) -> float:
  """Share of the exact neighbours that a table has, for a sample of images."""
  rng = np.random.default_rng(seed)
  N, K = neighbours_NK.shape
  queries = np.sort(rng.choice(N, min(RECALL_SAMPLE, N), replace=False))
  hits = 0
  start = 0
  for exact, _ in exact_neighbours(means_NE, queries, K):
    rows = queries[start : start + len(exact)]
    start += len(exact)
    hits += sum(
      len(np.intersect1d(a, b))
      for a, b in zip(exact, neighbours_NK[rows], strict=True)
    )
  return hits / (len(queries) * min(K, N - 1))
