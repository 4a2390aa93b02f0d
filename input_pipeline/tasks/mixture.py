"""Several corpora in one run: pairs of several stores, and text alone.

Every batch holds of each corpus its share, and each corpus goes through epochs
of its own, every example once. As in pretrain.py a batch is a function of its
step, whatever the number of hosts and however often a run was resumed.

Dimensions: n rows of a batch.
"""

import hashlib
import json
import pathlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from input_pipeline.batches.engine import check_steps, shard_rows, step_batches
from input_pipeline.batches.order import ExampleOrder, Interleaving
from input_pipeline.store.buffers import BufferPool
from input_pipeline.store.region_arrays import Slots
from input_pipeline.tasks.pretrain import PretrainData
from input_pipeline.tasks.text_corpus import TextCorpus
from interbert_jax.contract.errors import DataError

_WEIGHT_STEPS = 1 << 20  # to which weights are rounded
# Corpora may differ in these; all else they must agree in.
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


class Mixture:
  """Corpora with weights.

  Args:
    corpora: name -> data of one store and its captions.
    texts: name -> text without images.
    weights: name -> share of the examples, relative to the others; None for
      all to be in proportion to their sizes.
    seed: of the run.
    engine: what reads ahead (pipeline.py).
  """

  def __init__(
    self,
    corpora: Mapping[str, PretrainData],
    *,
    texts: Mapping[str, TextCorpus] | None = None,
    weights: Mapping[str, float] | None = None,
    seed: int,
    engine: str = "auto",
  ):
    if not corpora:
      raise DataError("found no corpus with images", field="corpora")
    texts = texts or {}
    self._infos = {name: data.info for name, data in corpora.items()}
    self._check_alike()
    self._corpora = {**corpora, **texts}
    sizes = {name: info["num_examples"] for name, info in self._infos.items()}
    sizes |= {name: corpus.num_examples for name, corpus in texts.items()}
    self._sizes = sizes
    self._interleaving = Interleaving(_whole(weights or {}, sizes))
    self._orders = [
      # Seeds of their own: corpora of one size have orders of their own.
      ExampleOrder(size, seed=seed * len(sizes) + number)
      for number, size in enumerate(sizes.values())
    ]
    starts = np.cumsum([0, *sizes.values()])
    self._starts = dict(zip(sizes, starts[:-1].tolist(), strict=True))
    self._texts = texts
    self._weights = dict(weights or {})
    self._seed = seed
    self._engine = engine
    self._pool = BufferPool()

  def _check_alike(self):
    """Stores must be of one kind, captions cut in one way."""
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
  def info(self) -> dict[str, Any]:
    """As `PretrainData.info`; counts are those of all corpora together."""
    first = next(iter(self._infos.values()))
    facts = {
      **{key: first[key] for key in first if key not in _OWN},
      "num_examples": sum(self._sizes.values()),
      "num_images": sum(i["num_images"] for i in self._infos.values()),
      "corpora": {name: i["fingerprint"] for name, i in self._infos.items()}
      | {name: corpus.facts for name, corpus in self._texts.items()},
      "weights": self._weights,
    }
    whole = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    return {
      **facts,
      "num_truncated_texts": sum(
        i["num_truncated_texts"] for i in self._infos.values()
      ),
      "fingerprint": whole.hexdigest(),
    }

  @property
  def corpora(self) -> list[PretrainData]:
    """Those with images."""
    return [self._corpora[name] for name in self._infos]

  def corpus_of(self, example_id: int) -> tuple[str, int]:
    """(name of the corpus, example in it) of an example_id of a batch."""
    for name, start in reversed(self._starts.items()):
      if example_id >= start:
        return name, example_id - start
    raise DataError(f"found {example_id}, wanted 0 or more", field="example_id")

  def train_batches(
    self,
    first_step: int,
    last_step: int,
    *,
    batch_size: int,
    shard_index: int = 0,
    shard_count: int = 1,
  ) -> Iterator[dict[str, np.ndarray]]:
    """As `PretrainData.train_batches`; example ids count through all."""
    check_steps(first_step, last_step, batch_size)
    rows = shard_rows(batch_size, shard_index, shard_count)
    n = rows.stop - rows.start
    data = next(iter(self._corpora.values()))
    signature = data.signature(n)
    specs = data.region_specs

    def read(step: int) -> dict[str, np.ndarray]:
      position = step * batch_size + np.arange(rows.start, rows.stop)
      corpus, local = self._interleaving.deal(position)
      regions = Slots.new(specs, n, pool=self._pool).arrays
      batch = {
        key: regions[key] if key in regions else np.zeros(shape, dtype)
        for key, (shape, dtype) in signature.items()
      }
      for number, (name, found) in enumerate(self._corpora.items()):
        places = np.flatnonzero(corpus == number)
        if not len(places):
          continue
        example_id = self._orders[number].examples(local[places])
        own = found.rows(
          position[places], example_id, into=Slots(regions, places)
        )
        for key in own.keys() - regions.keys():
          batch[key][places] = own[key]
        batch["example_id"][places] += self._starts[name]
      return batch

    return step_batches(
      first_step, last_step, read=read, signature=signature, engine=self._engine
    )


def check_corpora(corpora: Mapping[str, Mapping[str, Any]], *, shares: int):
  """Refuses corpora that no mixture can be made of, before any is read."""
  if shares > 1:
    raise DataError(
      f"found {shares}, wanted 1 with several corpora", field="shares"
    )
  for name, corpus in corpora.items():
    if corpus["text"] and (corpus["store"] or corpus["annotations"]):
      raise DataError(
        "found text and store or annotations, wanted one of them",
        field=f"corpora.{name}",
      )
  if all(corpus["text"] for corpus in corpora.values()):
    raise DataError("found no corpus with images", field="corpora")
  weights = {
    name: corpus["weight"]
    for name, corpus in corpora.items()
    if corpus["weight"] is not None
  }
  check_weights(weights, corpora)


def check_weights(weights: Mapping[str, float], corpora: Collection[str]):
  """Refuses weights of some corpora alone, and those that are not above 0."""
  if weights and set(weights) != set(corpora):
    raise DataError(
      f"found weights of {sorted(weights)}, wanted of {sorted(corpora)}",
      field="weights",
      hint="give every corpus a weight, or none",
    )
  if weights and min(weights.values()) <= 0:
    raise DataError(
      f"found {dict(weights)}, wanted numbers above 0", field="weights"
    )


def mixture_data(
  corpora: Mapping[str, Mapping[str, Any]], **section: Any
) -> Mixture:
  """The mixture that a configuration describes.

  Args:
    corpora: name -> store, annotations, split, negatives; or text, a file of
      lines; and weight, None for all in proportion to their sizes.
    section: keywords of `PretrainData`, the same for all corpora.
  """
  check_corpora(corpora, shares=section["shares"])
  pairs, texts, weights = {}, {}, {}
  stage_dir = section.pop("stage_dir")
  for name, corpus in corpora.items():
    own = dict(corpus)
    weight, text = own.pop("weight"), own.pop("text")
    if weight is not None:
      weights[name] = weight
    if text:
      texts[name] = text
      continue
    directory = stage_dir and str(pathlib.Path(stage_dir) / name)
    pairs[name] = PretrainData(**{**section, **own, "stage_dir": directory})
  first = next(iter(pairs.values()))
  return Mixture(
    pairs,
    texts={
      name: TextCorpus(
        path,
        tokenizer=first.tokenizer,
        max_text_length=section["max_text_length"],
        word_boundaries=section["word_boundaries"],
      )
      for name, path in texts.items()
    },
    weights=weights,
    seed=section["seed"],
    engine=section.get("engine", "auto"),
  )


def _whole(weights: Mapping[str, float], sizes: Mapping[str, int]) -> list[int]:
  """Whole numbers in proportion to the weights; the sizes where there are none.

  In proportion to sizes every example is seen as often as any other.
  """
  check_weights(weights, sizes)
  if not weights:
    return list(sizes.values())
  total = sum(weights.values())
  return [
    max(1, round(weights[name] / total * _WEIGHT_STEPS)) for name in sizes
  ]
