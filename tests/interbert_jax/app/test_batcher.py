"""The queue of the service: what is computed together, and what is not."""

import threading

import pytest

from interbert_jax.app.serve.batcher import Batcher, Busy, Late


@pytest.fixture
def held():
  """A batcher whose first job waits until it is let go."""
  sizes, go, begun = [], threading.Event(), threading.Event()
  batcher = Batcher(capacity=3, most=8, on_batch=sizes.append)

  def hold(requests):
    begun.set()
    go.wait()
    return requests

  first = batcher.submit(hold, "first", seconds=60)
  begun.wait()
  yield batcher, go, sizes
  go.set()
  batcher.close()
  assert first.result() == "first"


def double(requests):
  return [2 * request for request in requests]


def test_what_waits_is_computed_together(held):
  batcher, go, sizes = held
  answers = [
    batcher.submit(double, n, key=key, seconds=60)
    for n, key in enumerate(("a", None, "a"))
  ]
  assert len(batcher) == 3
  with pytest.raises(Busy):
    batcher.submit(double, 3, seconds=60)
  go.set()
  assert [x.result() for x in answers] == [0, 2, 4]
  assert sizes == [1, 2, 1]


def test_one_that_fails_spoils_no_other(held):
  batcher, go, _ = held

  def inverse(requests):
    return [1 / request for request in requests]

  answers = [batcher.submit(inverse, n, key="a", seconds=60) for n in (2, 0, 4)]
  go.set()
  assert answers[0].result() == 0.5 and answers[2].result() == 0.25
  with pytest.raises(ZeroDivisionError):
    answers[1].result()


def test_nobody_computes_for_those_who_left(held):
  batcher, go, sizes = held
  late = batcher.submit(double, 1, seconds=-1)
  left = batcher.submit(double, 2, seconds=60)
  assert left.cancel()
  go.set()
  with pytest.raises(Late):
    late.result()
  batcher.submit(double, 3, seconds=60).result()
  assert sizes == [1, 1]
