"""One thread that computes; requests wait in a bounded queue.

While a batch is computed others arrive, and those that can be computed
together are. So the size of a batch follows the load, and nobody waits for a
timer.
"""

import concurrent.futures
import queue
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple


class Busy(Exception):
  """The queue is full."""


class Late(Exception):
  """The time of a request was over before its turn came."""


class Job(NamedTuple):
  """A request in the queue.

  Attributes:
    compute: the answers to requests with the same key.
    key: of what can be computed together; None for what cannot.
    request: what is asked.
    answer: is given the answer or the error.
    deadline: by time.monotonic().
  """

  compute: Callable[[Sequence[Any]], Sequence[Any]]
  key: Hashable | None
  request: Any
  answer: concurrent.futures.Future
  deadline: float


class Batcher:
  """Computes jobs in one thread, several at once where they allow it.

  Args:
    capacity: jobs that may wait.
    most: jobs of a batch.
    on_batch: told the number of jobs of every batch.
  """

  def __init__(
    self,
    *,
    capacity: int,
    most: int,
    on_batch: Callable[[int], None] = lambda count: None,
  ):
    self._jobs: queue.Queue[Job | None] = queue.Queue(capacity)
    self._most, self._on_batch = most, on_batch
    self._thread = threading.Thread(target=self._work, daemon=True)
    self._thread.start()

  def __len__(self) -> int:
    """How many jobs wait."""
    return self._jobs.qsize()

  def submit(
    self,
    compute: Callable[[Sequence[Any]], Sequence[Any]],
    request: Any,
    *,
    key: Hashable | None = None,
    seconds: float,
  ) -> concurrent.futures.Future:
    """The answer, once it is computed.

    Raises:
      Busy: as many jobs wait as may.
    """
    answer: concurrent.futures.Future = concurrent.futures.Future()
    job = Job(compute, key, request, answer, time.monotonic() + seconds)
    try:
      self._jobs.put_nowait(job)
    except queue.Full:
      raise Busy from None
    return answer

  def close(self) -> None:
    """Computes what waits, then ends."""
    self._jobs.put(None)
    self._thread.join()

  def _work(self) -> None:
    waiting: list[Job] = []
    ended = False
    while True:
      # What has come meanwhile, but no more than a batch may have.
      while len(waiting) < self._most:
        try:
          job = self._jobs.get(block=not (waiting or ended))
        except queue.Empty:
          break
        if job is None:
          ended = True
        else:
          waiting.append(job)
      if not waiting:
        return
      key = waiting[0].key
      together = [n == 0 or job.key == key for n, job in enumerate(waiting)]
      if key is None:
        together[1:] = [False] * (len(waiting) - 1)
      batch = [j for j, chosen in zip(waiting, together, strict=True) if chosen]
      waiting = [
        j for j, chosen in zip(waiting, together, strict=True) if not chosen
      ]
      self._compute(batch)

  def _compute(self, batch: list[Job]) -> None:
    live = []
    for job in batch:
      if not job.answer.set_running_or_notify_cancel():
        continue  # nobody waits for it any more
      if time.monotonic() > job.deadline:
        job.answer.set_exception(Late())
      else:
        live.append(job)
    if not live:
      return
    self._on_batch(len(live))
    try:
      answers = live[0].compute([job.request for job in live])
    except BaseException as error:
      if len(live) > 1:  # one of them is at fault: the others have answers
        for job in live:
          self._compute_alone(job)
      else:
        live[0].answer.set_exception(error)
      return
    for job, answer in zip(live, answers, strict=True):
      job.answer.set_result(answer)

  def _compute_alone(self, job: Job) -> None:
    try:
      job.answer.set_result(job.compute([job.request])[0])
    except BaseException as error:
      job.answer.set_exception(error)
