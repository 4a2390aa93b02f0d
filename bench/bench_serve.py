"""Requests a second of the service, and how long they take, under load.

  python -m bench.bench_serve --model=runs/quickstart_openmoji \\
      --output=docs/serve_speed.json

Clients on this machine ask for searches of the model's own catalogue. First
some ask without a pause, which finds the most that is answered a second
(saturation), with batches and one request at a time. Then requests begin at
moments drawn beforehand, at 50 and 90 % of it, whether earlier ones have
answers or not. At last requests with faults are mixed in: broken JSON, cut
connections, clients that stop half-way.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import numpy as np

from bench.measuring import make_parser, write_result

_TEXTS = [
  f"{a} {b} {c}"
  for a in ("a red", "two", "a small", "the")
  for b in ("dog", "car", "apple", "bird", "house")
  for c in ("near a cat", "under a tree", "on the left of a cup", "")
]


class Client:
  """Asks the service over connections of its own."""

  def __init__(self, host: str, port: int):
    self._address = host, port

  async def send(self, raw: bytes, *, wait: bool = True) -> int:
    """The status of the answer; 0 where it is not waited for."""
    reader, writer = await asyncio.open_connection(*self._address)
    try:
      writer.write(raw)
      await writer.drain()
      if not wait:
        return 0
      line = await reader.readline()
      await reader.read()
      return int(line.split()[1])
    finally:
      writer.close()

  async def get(self, path: str) -> dict:
    reader, writer = await asyncio.open_connection(*self._address)
    writer.write(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return json.loads(answer.partition(b"\r\n\r\n")[2])

  async def search(self, number: int) -> int:
    text = _TEXTS[number % len(_TEXTS)]
    return await self.send(_request("search", {"text": text, "top": 10}))


def _request(route: str, asked: dict | bytes) -> bytes:
  body = asked if isinstance(asked, bytes) else json.dumps(asked).encode()
  head = (
    f"POST /v1/{route} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
  )
  return head.encode() + body


async def closed_loop(
  ask: Callable[[int], Awaitable[int]], *, clients: int, seconds: float
) -> dict:
  """Clients that ask again as soon as they have an answer."""
  end, done = time.perf_counter() + seconds, []

  async def client(first: int):
    number = first
    while time.perf_counter() < end:
      began = time.perf_counter()
      assert await ask(number) == 200  # nosec B101
      done.append(time.perf_counter() - began)
      number += clients

  began = time.perf_counter()
  await asyncio.gather(*(client(n) for n in range(clients)))
  return _times(done, time.perf_counter() - began) | {"clients": clients}


async def open_loop(
  ask: Callable[[int], Awaitable[int]], *, rate: float, count: int
) -> dict:
  """Requests that begin at random moments, `rate` a second on average."""
  moments = np.cumsum(np.random.default_rng(0).exponential(1 / rate, count))
  began, times, statuses = time.perf_counter(), [], []

  async def one(number: int):
    await asyncio.sleep(began + moments[number] - time.perf_counter())
    statuses.append(await ask(number))
    times.append(time.perf_counter() - began - moments[number])

  await asyncio.gather(*(one(n) for n in range(count)))
  result = _times(times, time.perf_counter() - began)
  result["asked_per_second"] = rate
  result["refused"] = sum(status != 200 for status in statuses)
  return result


def _times(seconds: list[float], elapsed: float) -> dict:
  p50, p99 = np.percentile(seconds, [50, 99]) * 1000
  return {
    "requests": len(seconds),
    "per_second": len(seconds) / elapsed,
    "p50_ms": p50,
    "p99_ms": p99,
  }


async def with_faults(client: Client, *, count: int, pid: int) -> dict:
  """Good requests among broken ones: how many have their answer.

  They rerank eight images each, which is soon done.
  """
  listed = await client.get("/v1/catalogues")
  images = [listed["catalogues"][0]["example"]] * 8
  draw = random.Random(0)  # nosec B311
  limit = asyncio.Semaphore(32)
  before, answered, faults = _memory(pid), [], 0

  def raw(number: int) -> bytes:
    text = _TEXTS[number % len(_TEXTS)]
    return _request("rerank", {"text": text, "image_ids": images})

  async def one(number: int):
    nonlocal faults
    kind = draw.random()
    async with limit:
      if kind < 0.7:
        answered.append(await client.send(raw(number)))
        return
      faults += 1
      if kind < 0.8:
        status = await client.send(_request("search", b"{broken"))
        assert status == 422, status  # nosec B101
      elif kind < 0.9:  # leaves before the answer
        await client.send(raw(number), wait=False)
      else:  # stops half-way, and leaves
        part = raw(number)[: draw.randrange(1, len(raw(number)))]
        await client.send(part, wait=False)

  for start in range(0, count, count // 4):
    await asyncio.gather(*(one(n) for n in range(start, start + count // 4)))
    if not start:  # it is warm now
      before = _memory(pid)
  return {
    "requests": len(answered) + faults,
    "good": len(answered),
    "good_with_answers": sum(status == 200 for status in answered),
    "megabytes_after_a_quarter": before,
    "megabytes_at_the_end": _memory(pid),
    "connections_left": _connections(pid),
  }


def _memory(pid: int) -> float:
  with open(f"/proc/{pid}/status") as file:
    line = next(line for line in file if line.startswith("VmRSS"))
  return int(line.split()[1]) / 1024


def _connections(pid: int) -> int:
  time.sleep(2)
  folder = f"/proc/{pid}/fd"
  ends = [os.readlink(f"{folder}/{name}") for name in os.listdir(folder)]
  return sum(end.startswith("socket:") for end in ends)


def _with_server(model: str, work, *flags: str):
  """What `work(client, pid)` gives, beside a server of its own."""
  command = [sys.executable, "-m", "interbert_jax.app.serve", "--port=0"]
  with subprocess.Popen(  # nosec B603: our own command
    [*command, f"--model={model}", *flags], stdout=subprocess.PIPE, text=True
  ) as process:
    try:
      address = process.stdout.readline().split()[0]
      host, _, port = address.removeprefix("http://").strip("/").partition(":")
      return asyncio.run(work(Client(host, int(port)), process.pid))
    finally:
      process.terminate()


def main() -> None:
  parser = make_parser(__doc__, seconds=10, requests=10_000)
  parser.add_argument("--model", required=True)
  options = parser.parse_args()

  async def saturate(client: Client, _: int):
    await closed_loop(client.search, clients=4, seconds=2)
    return await closed_loop(client.search, clients=32, seconds=options.seconds)

  result = {"one at a time": {}, "batches": {}}
  for name, flags in (
    ("one at a time", ["--max_batch=1"]),
    ("batches", ["--max_batch=16"]),
  ):
    most = _with_server(options.model, saturate, *flags)
    result[name]["saturation"] = most
    for share in (0.5, 0.9):
      rate = share * most["per_second"]

      async def load(client: Client, _: int, rate=rate):
        await closed_loop(client.search, clients=4, seconds=2)
        return await open_loop(
          client.search, rate=rate, count=int(rate * options.seconds)
        )

      result[name][f"{share:.0%}"] = _with_server(options.model, load, *flags)

  async def faults(client: Client, pid: int):
    return await with_faults(client, count=options.requests, pid=pid)

  result["faults"] = _with_server(options.model, faults, "--max_waiting=100")
  write_result(result, options.output)


if __name__ == "__main__":
  main()
