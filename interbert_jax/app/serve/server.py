"""The service over HTTP: routes, limits, errors, metrics."""

import asyncio
import contextlib
import functools
import hmac
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import fastapi
import prometheus_client as prometheus
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from interbert_jax.app.serve import requests
from interbert_jax.app.serve.batcher import Batcher, Busy, Late
from interbert_jax.app.serve.limits import Limits
from interbert_jax.app.serve.service import Answers, Service, Unknown
from interbert_jax.app.serve.settings import ServeSettings
from interbert_jax.contract.errors import UserError
from interbert_jax.parallel import on_cpu

_HERE = pathlib.Path(__file__).parent
_FILES = {
  "/": "page.html",
  "/page.js": "page.js",
  "/page.css": "page.css",
  "/docs": "docs.html",
  "/docs.js": "docs.js",
}
# Nothing from elsewhere, and nothing that stands in the page itself.
_HEADERS = {
  "Content-Security-Policy": "default-src 'none'; script-src 'self'; "
  "style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cache-Control": "no-store",
}
_LOCAL = ("localhost", "127.0.0.1", "::1")
# Without a token: they tell nothing of the data.
_OPEN = (*_FILES, "/favicon.ico", "/healthz")


class Metrics:
  """What /metrics shows."""

  def __init__(self):
    self.registry = prometheus.CollectorRegistry()
    add = functools.partial(dict, registry=self.registry)
    self.requests = prometheus.Counter(
      "interbert_requests", "Requests.", ["route", "status"], **add()
    )
    self.seconds = prometheus.Histogram(
      "interbert_request_seconds", "Time of requests.", ["route"], **add()
    )
    self.batch = prometheus.Histogram(
      "interbert_batch_size",
      "Requests computed at once.",
      buckets=(1, 2, 4, 8, 16, 32, 64),
      **add(),
    )
    self.waiting = prometheus.Gauge(
      "interbert_waiting", "Requests in the queue.", **add()
    )
    self.step = prometheus.Gauge(
      "interbert_model_step", "Step of the checkpoint that answers.", **add()
    )


def error(status: int, message: str, **headers: str) -> JSONResponse:
  body = {"error": {"status": status, "message": message}}
  return JSONResponse(body, status, {**_HEADERS, **headers})


def make_app(service: Service, settings: ServeSettings) -> fastapi.FastAPI:
  """The application; its lifespan ends the computing thread."""
  metrics = Metrics()
  batcher = Batcher(
    capacity=settings.max_waiting,
    most=settings.max_batch or (1 if on_cpu() else 16),
    on_batch=metrics.batch.observe,
  )
  metrics.waiting.set_function(lambda: len(batcher))
  metrics.step.set_function(lambda: service.now.step)

  @contextlib.asynccontextmanager
  async def lifespan(_):
    looking = asyncio.create_task(_look_for_checkpoints(service, settings))
    yield
    looking.cancel()
    await asyncio.to_thread(batcher.close)

  app = fastapi.FastAPI(
    title="interbert-jax",
    lifespan=lifespan,
    docs_url=None,
    redoc_url=None,
    openapi_url="/openapi.json",
  )

  async def compute(
    function: Callable[[Answers, Sequence[Any]], Sequence[Any]],
    request: Any = None,
    key: object = None,
  ) -> tuple[Any, int]:
    """(answer, step of the checkpoint that gave it)"""

    def work(asked: Sequence[Any]) -> list[tuple[Any, int]]:
      now = service.now
      return [(answer, now.step) for answer in function(now, asked)]

    waiting = batcher.submit(work, request, key=key, seconds=settings.seconds)
    try:
      async with asyncio.timeout(settings.seconds):
        return await asyncio.wrap_future(waiting)
    except TimeoutError:
      raise Late from None

  def alone(function: Callable[[Answers], Any]):
    return compute(lambda now, _: [function(now)])

  @app.post("/v1/search")
  async def search(asked: requests.Search):
    """The images of a catalogue that fit a text best."""
    asked.check(settings)
    service.now.shelf(asked.catalogue)  # or others would be refused with it
    found, step = await compute(
      functools.partial(Answers.search, catalogue=asked.catalogue),
      (asked.text, asked.top),
      key=("search", asked.catalogue),
    )
    return {"results": found, "step": step}

  @app.post("/v1/score")
  async def score(asked: requests.Score):
    """Scores of every text with every image."""
    asked.check(settings)
    scores, step = await alone(
      lambda now: now.score(asked.texts, asked.image_ids, asked.catalogue)
    )
    return {"scores": scores.tolist(), "step": step}

  @app.post("/v1/rerank")
  async def rerank(asked: requests.Rerank):
    """Images in the order in which they fit a text."""
    asked.check(settings)
    scores, step = await alone(
      lambda now: now.score([asked.text], asked.image_ids, asked.catalogue)
    )
    ranked = [
      {"index": n, "image_id": asked.image_ids[n], "score": float(scores[0, n])}
      for n in sorted(range(len(scores[0])), key=lambda n: -scores[0, n])
    ]
    return {"results": ranked[: asked.top], "step": step}

  @app.post("/v1/recommend")
  async def recommend(asked: requests.Recommend):
    """The best items for topics, some with example items."""
    asked.check(settings)
    ranked, step = await alone(
      lambda now: now.recommend(
        [topic.wanted() for topic in asked.topics],
        asked.catalogue,
        top=asked.top,
        example_weight=asked.example_weight,
      )
    )
    return {"results": ranked, "step": step}

  @app.post("/v1/explain")
  async def explain(asked: requests.Explain):
    """What the score of a text with an image is made of."""
    asked.check(settings)
    explained, step = await alone(
      lambda now: now.explain(asked.text, asked.image_id, asked.catalogue)
    )
    return {**explained, "step": step}

  @app.post("/v1/pictures")
  async def send(picture: fastapi.UploadFile):
    """Takes a picture; its id can be scored and explained for a while."""
    if why := service.can_extract:
      raise HTTPException(501, f"pictures cannot be sent: {why}")
    data = await picture.read()
    image_id, _ = await alone(lambda _: service.send(data))
    return {"image_id": image_id}

  @app.get("/v1/catalogues")
  async def catalogues():
    now = service.now
    return {
      "catalogues": [
        {
          "name": name,
          "images": len(shelf.catalogue),
          "pictures": shelf.images is not None,
          "example": shelf.catalogue.item_ids[0],
        }
        for name, shelf in now.shelves.items()
      ],
      "model": pathlib.Path(settings.model).name,
      "step": now.step,
      "language": now.model.run.settings.language,
      "send": not service.can_extract,
    }

  @app.get("/v1/picture")
  async def picture(image_id: str, catalogue: str = ""):
    path = service.now.shelf(catalogue).picture(image_id)
    if path is None:
      raise Unknown(f"no picture of {image_id!r:.200}")
    return FileResponse(path, headers=_HEADERS)

  @app.get("/favicon.ico", include_in_schema=False)
  async def no_icon():
    return Response(status_code=204)

  @app.get("/healthz")
  async def healthz():
    return {"status": "ok", "step": service.now.step}

  @app.get("/metrics")
  async def show_metrics():
    return Response(
      prometheus.generate_latest(metrics.registry),
      media_type=prometheus.CONTENT_TYPE_LATEST,
    )

  for route, name in _FILES.items():

    def page(name: str = name):
      return FileResponse(_HERE / name, headers=_HEADERS)

    # The name is no parameter of the request.
    app.add_api_route(
      route,
      functools.partial(page, name),
      methods=["GET"],
      include_in_schema=False,
      response_model=None,
    )

  _add_errors(app, settings)
  _add_checks(app, settings, metrics)
  return app


def _add_errors(app: fastapi.FastAPI, settings: ServeSettings) -> None:
  """One message for each mistake, always in JSON."""

  def handle(kind: type[Exception], status: int):
    @app.exception_handler(kind)
    async def handler(_, problem):
      return error(status, str(problem))

  handle(UserError, 422)
  handle(Unknown, 404)

  @app.exception_handler(Busy)
  async def busy(*_):
    return error(
      503,
      f"{settings.max_waiting} requests wait already; come again",
      **{"Retry-After": "1"},
    )

  @app.exception_handler(Late)
  async def late(*_):
    return error(504, f"no answer within {settings.seconds:g} s")

  @app.exception_handler(RequestValidationError)
  async def invalid(_, problem: RequestValidationError):
    lines = [
      f"{'.'.join(map(str, x['loc'][1:])) or 'body'}: {x['msg']}"
      for x in problem.errors()
    ]
    return error(422, "; ".join(lines))

  @app.exception_handler(HTTPException)
  async def refused(_, problem: HTTPException):
    return error(problem.status_code, str(problem.detail))

  @app.exception_handler(Exception)
  async def bug(*_):
    return error(500, "a bug; the server's log has it")


def _add_checks(
  app: fastapi.FastAPI, settings: ServeSettings, metrics: Metrics
) -> None:
  """What comes before every route: the token, sizes, and what is counted."""

  @app.middleware("http")
  async def guard(request: fastapi.Request, go_on):
    began = time.monotonic()
    # Pages of other sites must not reach it through a name of their own.
    if settings.is_local and request.url.hostname not in _LOCAL:
      return error(400, f"Host is {request.url.hostname!r}; wanted localhost")
    if settings.token and request.url.path not in _OPEN:
      sent = request.headers.get("authorization", "")
      wanted = f"Bearer {settings.token}"
      if not hmac.compare_digest(sent.encode(), wanted.encode()):
        return error(
          401,
          "wanted 'Authorization: Bearer TOKEN'",
          **{"WWW-Authenticate": "Bearer"},
        )
    response = await go_on(request)
    for key, value in _HEADERS.items():
      response.headers.setdefault(key, value)
    route = request.scope.get("route")
    path = getattr(route, "path", "unknown")
    metrics.requests.labels(path, response.status_code).inc()
    metrics.seconds.labels(path).observe(time.monotonic() - began)
    return response

  app.add_middleware(
    Limits, max_bytes=settings.max_bytes, seconds=settings.seconds
  )


async def _look_for_checkpoints(
  service: Service, settings: ServeSettings
) -> None:
  while settings.reload_every:
    await asyncio.sleep(settings.reload_every)
    await asyncio.to_thread(service.reload)
