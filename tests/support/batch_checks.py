"""What every kind of data must do with its batches and its fingerprint."""

import json

import numpy as np

from interbert_jax.contract.batch import check_batch
from tests.support.tiny_data import build


def check_batches(kind, options, *, spec, has_images=True):
  """Batches keep their contract and are functions of their step alone.

  Neither hosts, resuming, the engine nor memory change one. An epoch and an
  evaluation have every example once.
  """
  data = build(kind, **options)
  n = data.num_examples
  steps = -(-n // 4) + 2
  whole = list(data.train_batches(0, steps, batch_size=4))
  for batch in whole:
    assert check_batch(batch, spec, dims=data.dims) == {**data.dims, "B": 4}
  cache = {"cache_bytes": 1 << 30} if has_images else {}
  other = build(kind, **{**options, **cache, "engine": "threads"})
  for shard in range(2):
    parts = other.train_batches(
      2, steps, batch_size=4, shard_index=shard, shard_count=2
    )
    for got, want in zip(parts, whole[2:], strict=True):
      for key in want:
        rows = want[key][2 * shard : 2 * shard + 2]
        np.testing.assert_array_equal(got[key], rows, err_msg=key)
  ids = np.concatenate([batch["example_id"] for batch in whole])
  assert sorted(ids[:n]) == list(range(n)) != ids[:n].tolist()

  held_out = list(data.eval_batches(batch_size=4))
  ids = np.concatenate([batch["example_id"] for batch in held_out])
  weights = np.concatenate([batch["example_weight"] for batch in held_out])
  assert ids[weights > 0].tolist() == list(range(n))
  assert len(ids) == -(-n // 4) * 4


def check_fingerprints(kind, options, changes):
  """Each of the changes gives another fingerprint."""
  info = build(kind, **options).info
  json.dumps(info)
  for change in ({"seed": 4}, *changes):
    other = build(kind, **{**options, **change}).info
    assert other["fingerprint"] != info["fingerprint"], change
