"""A trained model in Python.

  import interbert_jax as ib

  model = ib.load("runs/quickstart_openmoji")
  model.search("a red bus near a dog", top=5)

Dimensions: T texts, I images, N of either or pairs; P pooled, R regions of an
image, L tokens, A layers with H heads, S slots: the global region, R, L.
"""

import functools
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from input_pipeline.catalogues.catalogue import Catalogue
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.app.use import programs
from interbert_jax.app.use.images import Images, ImageSource
from interbert_jax.app.use.index import VectorIndex, index_facts
from interbert_jax.app.use.texts import Texts
from interbert_jax.app.use.topics import TopicRanker, Wanted
from interbert_jax.checkpoints.checkpoints import STEPS
from interbert_jax.contract.errors import ConfigError
from interbert_jax.model.interbert import InterBert
from interbert_jax.parallel import Parallel, make_parallel
from interbert_jax.ranking.gallery import (
  IMAGES,
  GalleryScorer,
  filled,
  steps,
)
from interbert_jax.ranking.top_items import id_ranks, rank_items
from interbert_jax.ranking.vectors import VectorEncoder
from interbert_jax.tasks.settings import SCORES
from interbert_jax.weights.export_folder import is_export


class Found(NamedTuple):
  """An image of a catalogue, and the score of the text with it."""

  image_id: str
  score: float


class Word(NamedTuple):
  """A word for a [MASK], and its probability."""

  word: str
  probability: float


class Model:
  """A checkpoint that answers; programs and embedded images are kept."""

  def __init__(self, run: TrainedRun, parallel: Parallel):
    self.run = run
    self.texts, self.images = Texts(run), ImageSource(run)
    self._parallel = parallel
    self._params = run.placed_params(parallel)
    self._topics = TopicRanker()

  def score(self, texts: str | Sequence[str], images: Images) -> np.ndarray:
    """[T, I] float32 scores; a higher one fits better.

    Of the matching head it is the difference of the two logits, as in
    eval_retrieval.py.

    Args:
      texts: one or several.
      images: ids of the run's store, `Regions`, paths of pictures, or a
        catalogue.
    """
    found = self.images.find(images)
    return self._scorer.scores(found, **self.texts.pack(texts))

  def search(
    self, text: str, catalogue: Images | None = None, **options: Any
  ) -> list[Found]:
    """The images that fit a text best, the best one first.

    Args:
      catalogue: `self.catalogue(...)`, the directory of a store, or images as
        in `score`; the run's own store by default.
      **options: of `search_all`, such as top.
    """
    return self.search_all([text], catalogue, **options)[0]

  def search_all(
    self,
    texts: Sequence[str],
    catalogue: Images | None = None,
    *,
    top: int = 5,
    index: VectorIndex | None = None,
    shortlist: int = 100,
  ) -> list[list[Found]]:
    """`search` for several texts at once.

    Args:
      catalogue: as in `search`.
      top: how many images.
      index: of the catalogue; then only the nearest images by their vectors are
        scored.
      shortlist: how many these are, for each text.
    """
    images = self.images.find(catalogue)
    if index is not None:
      index.check(index_facts(self, images))
      nearest_TK = index.nearest(self.vectors(texts), shortlist)
      return [
        self.search(
          text, images.choose([images.item_ids[n] for n in row]), top=top
        )
        for text, row in zip(texts, nearest_TK, strict=True)
      ]
    ranks = id_ranks(images.item_ids)
    return [
      [
        Found(images.item_ids[i], float(scores_I[i]))
        for i in rank_items(scores_I, ranks, top)
      ]
      for scores_I in self.score(texts, images)
    ]

  def recommend(
    self,
    topics: Sequence[Wanted | str],
    catalogue: Catalogue | None = None,
    **options: Any,
  ) -> list[list[Found]]:
    """The best items of a catalogue for each topic, as recommend.py has them.

    Args:
      topics: phrases, or `Wanted` with the ids of items that suit the topic,
        which are left out of its list.
      **options: of `TopicRanker.rank`, such as top and index.
    """
    ranked = self._topics.rank(
      self, topics, catalogue or self.catalogue(), **options
    )
    return [[Found(*item) for item in best] for best in ranked]

  @functools.cached_property
  def vector_encoder(self) -> VectorEncoder:
    return VectorEncoder(self.run.model, self._params, self._parallel)

  def vectors(
    self,
    texts: str | Sequence[str] | None = None,
    *,
    images: Images | None = None,
  ) -> np.ndarray:
    """[N, O] float32 unit vectors of texts or of images, to be compared.

    Raises:
      CheckpointError: the model was trained without `task.itc_weight`.
    """
    if (texts is None) == (images is None):
      raise ConfigError("vectors needs texts or images")
    if texts is not None:
      return self.vector_encoder.texts(self.texts.pack(texts))
    return self.vector_encoder.images(self.images.find(images))

  def encode(
    self,
    texts: str | Sequence[str] | None = None,
    images: Images | None = None,
  ) -> np.ndarray:
    """[N, P] float32: the pooled vectors of texts, of images, or of pairs.

    Texts alone pass the model as in BERT, images alone likewise.
    """
    if texts is None and images is None:
      raise ConfigError("encode needs texts, images or both")
    text = None if texts is None else self.texts.pack(texts)
    found = None if images is None else self.images.find(images)
    counts = [len(text["text_length"])] if text else []
    counts += [len(found)] if found is not None else []
    if len(set(counts)) > 1:
      raise ConfigError(
        f"encode has {counts[0]} texts and {counts[1]} images; wanted pairs, "
        "or one of them"
      )
    parts = [np.zeros((0, self.run.model.pooler_dim), np.float32)]
    for rows, size in steps(counts[0], IMAGES):
      part = slice(rows.start, rows.stop)
      given = (
        text and _filled({k: v[part] for k, v in text.items()}, size),
        None if found is None else _filled(found.read(rows), size),
      )
      vectors = self._pool(*self._parallel.put_replicated(given))
      parts.append(np.asarray(vectors)[: len(rows)])
    return np.concatenate(parts)

  def fill(
    self, text: str, image: Any | None = None, *, top: int = 5
  ) -> list[list[Word]]:
    """For each [MASK] of a text its most probable words, the best one first.

    Args:
      text: such as "a [MASK] on a table".
      image: what the text is about; without one, the text stream alone.
    """
    self.run.check_heads({"mlm_head": self.run.model.vocab_size})
    packed = self.texts.pack_masked(text)
    masks = np.flatnonzero(packed["text_ids"][0] == self.texts.mask_id)
    regions = None if image is None else self._one(image)
    given = self._parallel.put_replicated((packed, regions))
    probs_LV = np.asarray(self._fill(*given))[0]
    words = self.texts.words
    return [
      [
        Word(words[i], float(probs_LV[slot, i]))
        for i in np.argsort(-probs_LV[slot], kind="stable")[:top]
      ]
      for slot in masks
    ]

  def explain(self, text: str, image: Any) -> programs.Explanation:
    """What the score of a text with an image is made of."""
    regions, packed = self._one(image), self.texts.pack(text)
    given = self._parallel.put_replicated((packed, regions))
    parts = jax.device_get(self._explain(*given))
    return programs.explanation(parts, packed, regions, self.texts.words)

  def catalogue(self, store: str = "", items: str = "") -> Catalogue:
    """Images of a region store; what is computed of them is kept.

    Args:
      store: its directory; the run's own by default.
      items: a file of items (docs/recommendation.md), or all of them.
    """
    return self.images.catalogue(store, items)

  # Programs, compiled when they are first asked for.

  @functools.cached_property
  def _scorer(self) -> GalleryScorer:
    model = InterBert(self.run.model, self.run.score_head())
    return GalleryScorer(model, self._params, self._parallel)

  def _one(self, image: Images) -> dict[str, np.ndarray]:
    images = self.images.find(image)
    if len(images) != 1:
      raise ConfigError(f"image: found {len(images)} images; wanted one")
    return images.read([0])

  def _program(self, function, heads: Mapping[str, int], **options):
    model = InterBert(self.run.model, heads)
    program = functools.partial(function, model=model, **options)
    return functools.partial(self._parallel.compile_eval(program), self._params)

  @functools.cached_property
  def _pool(self):
    # No head is read, and one of pooled vectors leaves out all else.
    return self._program(programs.pool, SCORES["match"])

  @functools.cached_property
  def _fill(self):
    return self._program(programs.fill, {"mlm_head": self.run.model.vocab_size})

  @functools.cached_property
  def _explain(self):
    return self._program(
      programs.explain,
      self.run.score_head(),
      mask_id=self.texts.mask_id,
    )


def _filled(
  arrays: Mapping[str, np.ndarray], size: int
) -> dict[str, np.ndarray]:
  return {key: filled(array, size) for key, array in arrays.items()}


def load(
  path: str | pathlib.Path,
  *,
  checkpoint: str = "latest",
  ema: bool | None = None,
  changes: Sequence[str] = (),
) -> Model:
  """Opens a trained model.

  Args:
    path: a run's workdir, a step of one (runs/a/checkpoints/1700), or an
      exported folder, which needs nothing else.
    checkpoint: of a workdir: latest, best or a step.
    ema: the moving average of the parameters; None takes it where there is one.
    changes: SECTION.KEY=VALUE, such as input.store=DIR or model.dtype=bfloat16.

  Raises:
    UserError: nothing there, damaged, or not fit for the vocabulary.
  """
  path = pathlib.Path(path)
  workdir, chosen = str(path), checkpoint
  if path.parent.name == STEPS:
    workdir, chosen = str(path.parent.parent), path.name
  elif is_export(path):
    workdir, chosen = None, str(path)
  elif not (path / STEPS).is_dir():
    what = "has no checkpoints/ and is no export" if path.exists() else "absent"
    raise ConfigError(
      f"{path}: {what}; wanted the workdir of a run, a step of it such as "
      "runs/a/checkpoints/1700, or an exported folder"
    )
  logger = logging.getLogger("absl")
  level = logger.level
  logger.setLevel(logging.ERROR)  # Orbax would warn of what is not read
  try:
    run = TrainedRun(
      workdir,
      checkpoint=chosen,
      changes=list(changes),
      ema=ema,
      has_data=False,
    )
  finally:
    logger.setLevel(level)
  return Model(run, make_parallel(devices=jax.local_devices()[:1]))
