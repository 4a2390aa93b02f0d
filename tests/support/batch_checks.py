"""What every kind of data must do with its batches and its fingerprint."""

import functools
import itertools
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from interbert_jax.contract.batch import (
  ANSWERS,
  CANDIDATES,
  CHOICES,
  PRETRAIN,
  STATEMENTS,
  check_batch,
)
from tests.support.tiny_data import build, caption_files
from tests.support.tiny_questions import write_nlvr2, write_vcr, write_vqa


class Kind(NamedTuple):
  """A kind of data.

  `files` writes them below a folder and gives the options that read them; each
  of `changes` is another option that other batches come of.
  """

  files: Callable[..., dict[str, Any]]
  spec: Any
  changes: tuple[dict[str, Any], ...]


def mixture_files(root):
  """A corpus of pairs beside another one of text."""
  options = caption_files(root)
  (root / "text.txt").write_text("a dog runs\nthe cat sits\n")
  own = {key: str(options.pop(key)) for key in ("store", "annotations")}
  corpora = {"pairs": own, "text": {"text": str(root / "text.txt")}}
  return {**options, "corpora": corpora}


def candidate_files(root):
  return {**caption_files(root), "random_texts": 2, "random_images": 3}


SHORTER = {"max_regions": 3}, {"max_text_length": 5}
KINDS = {
  "pretrain": Kind(
    caption_files,
    PRETRAIN,
    (
      *SHORTER,
      {"split": "val"},
      {"mismatch_prob": 0.4},
      {"class_probs": False},
    ),
  ),
  "mixture": Kind(mixture_files, PRETRAIN, (*SHORTER, {"mismatch_prob": 0.4})),
  "candidates": Kind(
    candidate_files,
    CANDIDATES,
    (*SHORTER, {"random_texts": 3}, {"random_images": 2}),
  ),
  "vcr": Kind(
    lambda root: write_vcr(root)[0],
    CHOICES,
    (
      {"max_regions": 3},
      {"max_text_length": 13},
      {"max_answer_length": 11},
      {"objectives": ("rationale", "answer")},
      {"ground_truth": ""},
      {"names": ""},
      {"split": "train"},
    ),
  ),
  "vqa": Kind(
    lambda root: {**write_vqa(root), "split": "train"},
    ANSWERS,
    (*SHORTER, {"min_answer_count": 5}, {"split": "val"}),
  ),
  "statements": Kind(
    lambda root: write_nlvr2(root)[0],
    STATEMENTS,
    (*SHORTER, {"split": "train"}),
  ),
}


def join(batches):
  """One batch of the rows of these."""
  batches = list(batches)
  return {k: np.concatenate([b[k] for b in batches]) for k in batches[0]}


def of_hosts(batches_of, count):
  """The batches that `count` hosts make together."""
  each = [batches_of(shard_index=i, shard_count=count) for i in range(count)]
  return [join(parts) for parts in zip(*each, strict=True)]


def assert_same_batches(got, want):
  for a, b in itertools.zip_longest(got, want):
    assert a.keys() == b.keys()
    for key in a:
      np.testing.assert_array_equal(a[key], b[key], err_msg=key)


def check_batches(kind, options, *, spec, has_images=True):
  """Batches keep their contract and are functions of their step alone.

  Neither hosts, interruptions, the engine nor memory change one. An epoch and
  an evaluation have every example once.
  """
  data = build(kind, **options)
  n = data.num_examples
  steps = -(-3 * n // 4)
  whole = list(data.train_batches(0, steps, batch_size=4))
  for batch in whole:
    assert check_batch(batch, spec, dims=data.dims) == {**data.dims, "B": 4}
  every = join(whole)
  np.testing.assert_array_equal(every["position"], np.arange(4 * steps))
  assert (every["example_weight"] == 1).all()
  epochs = every["example_id"][: 3 * n].reshape(3, n).tolist()
  assert all(sorted(epoch) == list(range(n)) for epoch in epochs)
  assert len({tuple(epoch) for epoch in epochs}) > 1

  # Stopped every few steps, and resumed on another number of hosts.
  cache = {"cache_bytes": 1 << 30} if has_images else {}
  others = [
    build(kind, **{**options, "engine": "tf.data"}),
    build(kind, **{**options, **cache, "engine": "threads"}),
  ]
  assert [other.info for other in others] == [data.info] * 2
  found, step = [], 0
  for number in itertools.count():
    last = min(step + (1, 3, 2)[number % 3], steps)
    batches = functools.partial(
      others[number % 2].train_batches, step, last, batch_size=4
    )
    found += of_hosts(batches, (4, 1, 2, 2)[number % 4])
    step = last
    if step == steps:
      break
  assert_same_batches(found, whole)
  _check_evaluation([data, *others])


def _check_evaluation(alike):
  """Every example once, whatever the size of batches; padding has weight 0."""
  n = alike[0].num_examples
  first = join(alike[0].eval_batches(batch_size=1))
  assert len(first["example_id"]) == n
  for data, batch_size, hosts in zip(alike, (7, 64, 4), (1, 4, 2), strict=True):
    batches = functools.partial(data.eval_batches, batch_size=batch_size)
    every = join(of_hosts(batches, hosts))
    assert len(every["position"]) == -(-n // batch_size) * batch_size
    assert_same_batches([{k: v[:n] for k, v in every.items()}], [first])
    for key in ("example_id", "position"):
      np.testing.assert_array_equal(every[key][:n], np.arange(n))
    assert (every["example_weight"] == (np.arange(len(every[key])) < n)).all()
    assert (every["example_id"][n:] >= n).all()
    regions = every.get("num_regions", np.ones(len(every[key])))
    assert ((regions[n:] > 0) == (regions[n - 1] > 0)).all()
  sizes = {"batch_size": 8, "group_size": 2}
  for data, hosts in zip(alike, (1, 4, 2), strict=True):
    dealt = join(of_hosts(functools.partial(data.eval_batches, **sizes), hosts))
    parts = data.eval_parts(**sizes)
    places = [p.length for p in parts or () for _ in range(p.count)]
    longest_B = dealt["text_length"].reshape(len(dealt["position"]), -1).max(1)
    assert (longest_B.reshape(-1, 2) <= (places or data.dims["L"])).all()
    by_id = {k: v[np.argsort(dealt["example_id"])] for k, v in dealt.items()}
    assert_same_batches([{k: v[:n] for k, v in by_id.items()}], [first])
    assert (by_id["example_id"][n:] >= n).all()
    assert (by_id["example_weight"][n:] == 0).all()


def check_fingerprints(kind, options, changes):
  """Each of the changes gives another fingerprint."""
  info = build(kind, **options).info
  json.dumps(info)
  prints = [
    build(kind, **{**options, **change}).info["fingerprint"]
    for change in ({}, {"seed": 4}, *changes)
  ]
  assert prints[0] == info["fingerprint"]
  assert len(set(prints)) == len(prints)
