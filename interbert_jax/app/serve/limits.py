"""Refuses requests that are too large or come too slowly."""

import asyncio
import json


class _Refused(Exception):
  def __init__(self, status: int, message: str):
    self.status, self.message = status, message


class Limits:
  """ASGI middleware that reads the whole body before anybody else.

  Args:
    max_bytes: of a body.
    seconds: in which it must have come.
  """

  def __init__(self, app, *, max_bytes: int, seconds: float):
    self._app, self._max_bytes, self._seconds = app, max_bytes, seconds

  async def __call__(self, scope, receive, send):
    if scope["type"] != "http":
      await self._app(scope, receive, send)
      return
    try:
      async with asyncio.timeout(self._seconds):
        body = await self._read(scope, receive)
    except TimeoutError:
      await _answer(send, 408, f"no whole request in {self._seconds:g} s")
      return
    except _Refused as refused:
      await _answer(send, refused.status, refused.message)
      return
    if body is None:  # the client has left
      return
    parts = [{"type": "http.request", "body": body, "more_body": False}]

    async def again():
      return parts.pop() if parts else await receive()

    await self._app(scope, again, send)

  async def _read(self, scope, receive) -> bytes | None:
    headers = dict(scope["headers"])
    declared = headers.get(b"content-length", b"0")
    if not declared.isdigit() or int(declared) > self._max_bytes:
      self._refuse(declared.decode("latin-1"))
    body = bytearray()
    while True:
      message = await receive()
      if message["type"] == "http.disconnect":
        return None
      body += message.get("body", b"")
      if len(body) > self._max_bytes:
        self._refuse(f"more than {self._max_bytes}")
      if not message.get("more_body"):
        return bytes(body)

  def _refuse(self, size: str):
    raise _Refused(413, f"{size} bytes; wanted at most {self._max_bytes:,}")


async def _answer(send, status: int, message: str) -> None:
  body = json.dumps({"error": {"status": status, "message": message}}).encode()
  await send(
    {
      "type": "http.response.start",
      "status": status,
      "headers": [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
      ],
    }
  )
  await send({"type": "http.response.body", "body": body})
