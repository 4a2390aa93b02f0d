"""Several corpora in one run: image-text pairs of several stores, and texts.

Each corpus has its share of every batch, and its own epochs, in which every
example comes once. As in pretrain.py, a batch is a function of its step.

Dimensions: n rows of a batch, L text slots.
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from input_pipeline.annotations.annotation_file import AnnotationFile
from input_pipeline.batches.order import ExampleOrder, Interleaving
from input_pipeline.batches.reader import BatchReader
from input_pipeline.store.buffers import BufferPool
from input_pipeline.store.region_arrays import Slots
from input_pipeline.tasks.pretrain import PretrainData
from input_pipeline.tasks.settings import CorpusSettings, PretrainInput
from input_pipeline.text.tokenizer import Tokenizer
from interbert_jax.contract.batch import array_shapes
from interbert_jax.contract.errors import DataError, Mistakes

_WEIGHT_STEPS = 1 << 20  # weights are rounded to shares of this
# Facts in which corpora may differ.
_OWN = (
  "num_examples",
  "num_images",
  "store_fingerprint",
  "captions_sha256",
  "negatives",
  "hard_negative_prob",
  "num_truncated_texts",
  "fingerprint",
)


class Mixture(BatchReader):
  """The corpora of a configuration, in proportion to their weights.

  Example ids count through all corpora, those with images first.

  Args:
    settings: section `input` of the configuration.
    seed: seed of the run.
    engine: as of `BatchReader`.
    reading: further keywords of `PretrainData`.
  """

  unit = "captions"

  def __init__(
    self,
    settings: PretrainInput,
    *,
    seed: int,
    engine: str = "auto",
    **reading: Any,
  ):
    mistakes, self._pairs = Mistakes(), {}
    for name, corpus in settings.corpora.items():
      if not corpus.text:
        with mistakes.collect():
          self._pairs[name] = PretrainData(
            _settings_of(corpus, settings, name),
            split=corpus.split,
            seed=seed,
            **reading,
          )
    mistakes.refuse()
    self._infos = {name: data.info for name, data in self._pairs.items()}
    self._check_alike()
    first = next(iter(self._pairs.values()))
    self.spec, self.dims = first.spec, first.dims
    words = first.facts["word_boundaries"]
    self._texts = {
      name: TextCorpus(
        corpus.text,
        tokenizer=first.tokenizer,
        max_text_length=settings.max_text_length,
        words=words,
      )
      for name, corpus in settings.corpora.items()
      if corpus.text
    }
    self._corpora = {**self._pairs, **self._texts}
    sizes = {name: c.num_examples for name, c in self._corpora.items()}
    self._weights = {
      name: corpus.weight
      for name, corpus in settings.corpora.items()
      if corpus.weight is not None
    }
    self._interleaving = Interleaving(_whole(self._weights, sizes))
    self._orders = [
      # Corpora of the same size get different seeds, hence different orders.
      ExampleOrder(size, seed=seed * len(sizes) + number)
      for number, size in enumerate(sizes.values())
    ]
    self._starts = np.cumsum([0, *sizes.values()])[:-1]
    self._image_shapes = first.image_shapes
    self._pool = BufferPool()
    super().__init__(num_examples=sum(sizes.values()), seed=seed, engine=engine)

  def _check_alike(self):
    """Refuses stores whose batches cannot be joined."""
    (first, wanted), *others = self._infos.items()
    for name, info in others:
      for key in wanted.keys() - set(_OWN):
        if info[key] != wanted[key]:
          raise DataError(
            f"found {info[key]!r:.60} in corpus {name!r} and "
            f"{wanted[key]!r:.60} in {first!r}, wanted the same in all",
            field=key,
            hint="convert the stores with the same options",
          )

  @property
  def facts(self) -> dict[str, Any]:
    """The facts of `PretrainData`, with the counts of all corpora together."""
    first = next(iter(self._infos.values()))
    return {
      **{key: first[key] for key in first if key not in _OWN},
      "num_images": sum(i["num_images"] for i in self._infos.values()),
      "corpora": {name: i["fingerprint"] for name, i in self._infos.items()}
      | {name: corpus.facts for name, corpus in self._texts.items()},
      "weights": self._weights,
    }

  @property
  def counts(self) -> dict[str, Any]:
    key = "num_truncated_texts"
    return {key: sum(info[key] for info in self._infos.values())}

  @property
  def corpora(self) -> tuple[PretrainData, ...]:
    """The corpora with images."""
    return tuple(self._pairs.values())

  def _number_of(self, examples: np.ndarray) -> np.ndarray:
    """[n] the number of the corpus of each example."""
    return np.searchsorted(self._starts, examples, side="right") - 1

  def corpus_of(self, example_id: int) -> tuple[str, int]:
    """The name of an example's corpus, and the example's number in it."""
    if not 0 <= example_id < self.num_examples:
      raise DataError(
        f"found {example_id}, wanted 0 to {self.num_examples - 1}",
        field="example_id",
      )
    number = int(self._number_of(np.array(example_id)))
    return list(self._corpora)[number], example_id - int(self._starts[number])

  def order(self, batch_size: int) -> Callable[[np.ndarray], np.ndarray]:
    del batch_size

    def examples(positions: np.ndarray) -> np.ndarray:
      corpus, local = self._interleaving.deal(positions)
      for number, (order, start) in enumerate(
        zip(self._orders, self._starts, strict=True)
      ):
        here = corpus == number
        local[here] = start + order.examples(local[here])
      return local

    return examples

  def lengths(self, examples: np.ndarray, position: np.ndarray) -> np.ndarray:
    return self._of_corpora("lengths", examples, position)

  def regions(self, examples: np.ndarray, position: np.ndarray) -> np.ndarray:
    return self._of_corpora("regions", examples, position)

  def _of_corpora(
    self, what: str, examples: np.ndarray, position: np.ndarray
  ) -> np.ndarray:
    """[n] what a method of each example's corpus gives."""
    numbers, found = self._number_of(examples), np.zeros_like(examples)
    for number, corpus in enumerate(self._corpora.values()):
      here = numbers == number
      own = examples[here] - self._starts[number]
      found[here] = getattr(corpus, what)(own, position[here])
    return found

  def arrays(
    self, examples: np.ndarray, position: np.ndarray
  ) -> dict[str, np.ndarray]:
    n, numbers = len(examples), self._number_of(examples)
    regions = Slots.new(self._image_shapes, n, pool=self._pool).arrays
    arrays = {
      key: regions[key] if key in regions else np.zeros(shape, dtype)
      for key, (shape, dtype) in array_shapes(
        self.spec, {**self.dims, "B": n}
      ).items()
    }
    for number, corpus in enumerate(self._corpora.values()):
      places = np.flatnonzero(numbers == number)
      if not len(places):
        continue
      own = corpus.arrays(
        examples[places] - self._starts[number],
        position[places],
        into=Slots(regions, places),
      )
      for key in own.keys() - regions.keys():
        arrays[key][places] = own[key]
    return arrays

  def are_usable(
    self, examples: np.ndarray, batch: Mapping[str, np.ndarray]
  ) -> np.ndarray:
    is_text = self._number_of(examples) >= len(self._pairs)
    return is_text | super().are_usable(examples, batch)


def _settings_of(
  corpus: CorpusSettings, settings: PretrainInput, name: str
) -> PretrainInput:
  stage_dir = settings.stage_dir and str(pathlib.Path(settings.stage_dir, name))
  return dataclasses.replace(
    settings,
    store=corpus.store,
    annotations=corpus.annotations,
    train_split=corpus.split,
    negatives=corpus.negatives,
    stage_dir=stage_dir,
    corpora={},
  )


def _whole(weights: Mapping[str, float], sizes: Mapping[str, int]) -> list[int]:
  """Whole numbers in proportion to the weights, or to the sizes without them.

  With the sizes all examples are seen equally often.
  """
  if not weights:
    return list(sizes.values())
  total = sum(weights.values())
  return [
    max(1, round(weights[name] / total * _WEIGHT_STEPS)) for name in sizes
  ]


class TextCorpus:
  """Examples with a text and no regions; the matching loss leaves them out.

  Args:
    path: a UTF-8 file with an example a line; blank lines are left out.
    tokenizer: tokenizer of the run.
    max_text_length: L, special tokens included.
    words: as of `CaptionData`.
  """

  def __init__(
    self,
    path: str | pathlib.Path,
    *,
    tokenizer: Tokenizer,
    max_text_length: int,
    words: str = "",
  ):
    texts = read_lines(pathlib.Path(path))
    self._tokenizer = tokenizer
    self._texts = tokenizer.encode(texts, words=words)
    self._length = max_text_length
    self.num_examples = len(texts)

  @property
  def facts(self) -> dict[str, Any]:
    """What decides the content of the arrays."""
    pieces = self._texts.ids.tobytes() + self._texts.offsets.tobytes()
    return {
      "num_examples": self.num_examples,
      "sha256": hashlib.sha256(pieces).hexdigest(),
    }

  def lengths(self, examples: np.ndarray, position: np.ndarray) -> np.ndarray:
    """[n] tokens of each text, special ones included."""
    del position  # nothing is drawn
    return self._texts.packed_lengths(examples, self._length)

  def regions(self, examples: np.ndarray, position: np.ndarray) -> np.ndarray:
    del position
    return np.zeros_like(examples)

  def arrays(
    self, examples: np.ndarray, position: np.ndarray, *, into: Slots
  ) -> dict[str, np.ndarray]:
    """The arrays of `PretrainData`; the places `into` get no regions."""
    del position  # nothing is drawn
    into.clear()
    return {
      **self._tokenizer.pack(self._texts, examples, max_length=self._length),
      "is_match": np.ones(len(examples), np.int32),
    }


def read_lines(path: pathlib.Path) -> list[str]:
  """The lines that are not blank; only "\\n" ends a line."""
  texts = [line.strip() for _, line in AnnotationFile(path).lines()]
  if not texts:
    raise DataError("found no text, wanted one example a line", file=path)
  return texts
