"""The service: answers, limits, batches, reloading, and its page."""

import asyncio
import json
import shutil
import threading
import time

import httpx
import jax
import numpy as np
import pytest
from starlette.testclient import TestClient

import interbert_jax as ib
from interbert_jax.app.ranking.recommendation import Recommender
from interbert_jax.app.ranking.settings import RecommendSettings
from interbert_jax.app.serve.server import make_app
from interbert_jax.app.serve.service import Answers, Service
from interbert_jax.app.serve.settings import ServeSettings, named
from interbert_jax.app.use.index import IndexSettings, VectorIndex, write_index
from interbert_jax.contract.errors import ConfigError
from tests.interbert_jax.app.conftest import IMAGES, TEXTS, TOPICS
from tests.support.tiny_run import write_run

SMALL = {"max_texts": 8, "max_characters": 30, "max_bytes": 2000, "seconds": 60}
LOCAL = "http://127.0.0.1"


@pytest.fixture(scope="module")
def settings(files):
  return ServeSettings(model=files["workdir"], **SMALL)


@pytest.fixture(scope="module")
def service(settings):
  return Service(settings)


@pytest.fixture(scope="module")
def client(service, settings):
  with TestClient(make_app(service, settings), base_url=LOCAL) as client:
    yield client


@pytest.fixture(scope="module")
def model(files):
  return ib.load(files["workdir"])


def answer(response, status=200):
  assert response.status_code == status, response.text
  return response.json()


def refused(response, status):
  body = answer(response, status)
  assert list(body) == ["error"] and body["error"]["status"] == status
  return body["error"]["message"]


def test_answers_are_the_models(client, model):
  found = answer(client.post("/v1/search", json={"text": "the cat", "top": 4}))
  assert found["step"] == 7
  wanted = [image._asdict() for image in model.search("the cat", top=4)]
  assert found["results"] == wanted
  names = ["im3", "im9", "im0"]
  asked = {"texts": TEXTS[:2], "image_ids": names}
  scores = np.float32(answer(client.post("/v1/score", json=asked))["scores"])
  np.testing.assert_array_equal(scores, model.score(TEXTS[:2], names))
  asked = {"text": TEXTS[0], "image_ids": names}
  ranked = answer(client.post("/v1/rerank", json=asked))["results"]
  order = np.argsort(-scores[0])
  assert [row["index"] for row in ranked] == order.tolist()
  assert [row["image_id"] for row in ranked] == [names[n] for n in order]
  asked = {"text": "a dog", "image_id": "im3"}
  body = answer(client.post("/v1/explain", json=asked))
  explained = model.explain("a dog", "im3")
  assert body["score"] == explained.score
  assert body["tokens"] == list(explained.tokens)
  np.testing.assert_allclose(body["importance"], explained.importance)
  regions = len(explained.boxes)
  assert np.shape(body["attention"]) == (len(body["tokens"]), regions)
  mean = explained.attention.mean((0, 1))
  np.testing.assert_allclose(
    body["attention"], mean[1 + regions :, 1 : 1 + regions]
  )


def test_topics_are_ranked_as_by_recommend(
  client, run, parallel, tmp_path, files
):
  recommender = Recommender(
    run,
    RecommendSettings(
      topics=str(files["topics"]),
      output="ranking.jsonl",
      scores=str(tmp_path / "scores"),
      top_k=5,
    ),
    parallel,
  )
  recommender.score()
  topics = [{k: v for k, v in x.items() if k != "topic_id"} for x in TOPICS]
  body = answer(client.post("/v1/recommend", json={"topics": topics, "top": 5}))
  for found, wanted in zip(body["results"], recommender.rank(), strict=True):
    assert [x["image_id"] for x in found] == list(wanted.item_ids)
    np.testing.assert_allclose(
      [x["score"] for x in found], wanted.scores, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
  ("path", "body", "status", "message"),
  [
    ("search", {}, 422, "text: Field required"),
    ("search", {"text": 3}, 422, "text: Input should be a valid string"),
    ("search", {"text": " "}, 422, "text: is blank"),
    ("search", {"text": "a" * 31}, 422, "31 characters; wanted at most 30"),
    ("search", {"text": "a", "top": 0}, 422, "top: Input should be greater"),
    ("search", {"text": "a", "tpo": 1}, 422, "tpo: Extra inputs"),
    ("search", {"text": "a", "catalogue": "x"}, 404, "no catalogue 'x'"),
    ("score", {"texts": [], "image_ids": ["im1"]}, 422, "texts: is empty"),
    ("score", {"texts": ["a"] * 9, "image_ids": ["im1"]}, 422, "at most 8"),
    (
      "score",
      {"texts": ["a"], "image_ids": ["x"]},
      404,
      "no image with the id",
    ),
    ("rerank", {"text": "a", "image_ids": ["../x"]}, 404, "no image"),
    ("explain", {"text": "a", "image_id": "x"}, 404, "no image"),
    (
      "recommend",
      {"topics": [{"text": "a", "examples": ["x"]}]},
      404,
      "no image with the id x",
    ),
    ("recommend", {"topics": []}, 422, "topics: is empty"),
  ],
)
def test_a_mistake_is_one_message(client, path, body, status, message):
  assert message in refused(client.post(f"/v1/{path}", json=body), status)


def test_odd_requests_are_refused(client):
  def post(**options):
    return client.post("/v1/search", **options)

  assert "JSON decode error" in refused(
    post(content=b"{", headers={"content-type": "application/json"}), 422
  )
  large = json.dumps({"text": "a" * 3000}).encode()
  assert "wanted at most 2,000" in refused(post(content=large), 413)
  assert "more than 2000" in refused(
    post(content=iter([large[:1500], large[1500:]])), 413
  )
  assert refused(client.get("/v1/nothing"), 404) == "Not Found"
  assert refused(client.get("/v1/search"), 405) == "Method Not Allowed"
  assert "'evil.example'" in refused(
    client.get("/healthz", headers={"host": "evil.example"}), 400
  )
  sent = refused(client.post("/v1/pictures", files={"picture": b"x"}), 501)
  assert "pictures cannot be sent" in sent


def test_a_model_that_diverged_is_no_bug(files, settings):
  service = Service(settings)
  scorer = service.now.model._scorer
  scorer._params = jax.tree.map(lambda x: x * np.nan, scorer._params)
  with TestClient(make_app(service, settings), base_url=LOCAL) as client:
    asked = {"text": "a dog", "image_ids": ["im1"]}
    said = refused(client.post("/v1/rerank", json=asked), 422)
    assert "1 of 1 scores are not finite" in said


@pytest.mark.parametrize("name", ["../workdir/config", "/etc/passwd", "im99"])
def test_no_request_reaches_the_file_system(client, name):
  asked = client.get("/v1/picture", params={"image_id": name})
  assert "no picture of" in refused(asked, 404)


def test_pictures_of_the_catalogue(files, tmp_path):
  images = tmp_path / "pictures"
  images.mkdir()
  (images / "im3.png").write_bytes(b"a picture")
  (tmp_path / "secret.png").write_bytes(b"a secret")
  settings = ServeSettings(model=files["workdir"], images=str(images))
  with TestClient(
    make_app(Service(settings), settings), base_url=LOCAL
  ) as client:

    def ask(name):
      return client.get("/v1/picture", params={"image_id": name})

    assert ask("im3").content == b"a picture"
    assert ask("im4").status_code == ask("../secret").status_code == 404
  with pytest.raises(ConfigError, match="no such folder"):
    Service(ServeSettings(model=files["workdir"], images="/nowhere"))


def test_every_page_allows_nothing_from_elsewhere(client):
  for path in ("/", "/page.js", "/page.css", "/docs", "/docs.js", "/healthz"):
    response = client.get(path)
    assert response.status_code == 200
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert "http://" not in response.text.replace(
      "http://www.w3.org/2000/svg", ""
    )
    assert "https://" not in response.text
  assert answer(client.get("/healthz"))["status"] == "ok"
  assert {"/v1/search", "/v1/explain"} <= set(
    answer(client.get("/openapi.json"))["paths"]
  )
  said = client.get("/metrics").text
  assert 'interbert_requests_total{route="/v1/search",status="200"}' in said
  assert "interbert_model_step 7.0" in said


def test_a_token(service, files):
  settings = ServeSettings(model=files["workdir"], token="secret")
  with TestClient(make_app(service, settings), base_url=LOCAL) as client:
    assert "Bearer" in refused(client.get("/v1/catalogues"), 401)
    assert refused(client.get("/metrics"), 401)
    wrong = {"authorization": "Bearer secre"}
    assert refused(client.get("/v1/catalogues", headers=wrong), 401)
    right = {"authorization": "Bearer secret"}
    listed = answer(client.get("/v1/catalogues", headers=right))
    assert listed["catalogues"][0]["images"] == IMAGES
    assert answer(client.get("/healthz"))
    assert client.get("/").status_code == 200


def test_a_newer_checkpoint_answers_without_a_restart(tmp_path):
  workdir = write_run(tmp_path, images=3, seed=0)
  settings = ServeSettings(model=str(workdir), reload_every=0)
  service = Service(settings)
  before = service.now.search([("a dog", 3)], catalogue="")
  assert not service.reload()
  (tmp_path / "other").mkdir()
  newer = write_run(tmp_path / "other", images=3, seed=1, step=9)
  steps = workdir / "checkpoints"
  (steps / "8").mkdir()  # being written
  assert not service.reload()
  shutil.rmtree(steps / "8")
  shutil.copytree(newer / "checkpoints" / "9", steps / "9")
  assert service.reload() and service.now.step == 9
  assert service.now.search([("a dog", 3)], catalogue="") != before


def test_a_search_by_index(tmp_path):
  pytest.importorskip("faiss")
  workdir = write_run(tmp_path, images=IMAGES, itc_weight=1.0)
  index = str(tmp_path / "index")
  write_index(IndexSettings(model=str(workdir), output=index))
  settings = ServeSettings(
    model=str(workdir), index=index, shortlist=3, reload_every=0
  )
  service = Service(settings)
  (found,) = service.now.search([("a dog", 9)], catalogue="")
  model = ib.load(workdir)
  wanted = model.search("a dog", top=9, index=VectorIndex(index), shortlist=3)
  assert found == [image._asdict() for image in wanted] and len(found) == 3
  # Its vectors are of this checkpoint: a newer one does not take over.
  (tmp_path / "other").mkdir()
  newer = write_run(
    tmp_path / "other", images=2, step=9, itc_weight=1.0, seed=1
  )
  steps = "checkpoints"
  shutil.copytree(newer / steps / "9", workdir / steps / "9")
  assert not service.reload() and service.now.step == 7


def test_names_of_catalogues(files, run):
  store = run.config["input"]["store"]
  settings = ServeSettings(
    model=files["workdir"], catalogue=f"a={store},b={store}"
  )
  assert list(Service(settings).now.shelves) == ["a", "b"]
  assert [name for name, _ in named("x=1=2,y")] == ["x", ""]
  with pytest.raises(ConfigError, match="each name once"):
    ServeSettings(model="m", catalogue=f"a={store},a={store}")


def test_a_full_queue_and_a_late_answer(service, files, monkeypatch):
  go, begun = threading.Event(), threading.Event()

  def hold(now, requests, *, catalogue):
    begun.set()
    go.wait()
    return [[] for _ in requests]

  monkeypatch.setattr(Answers, "search", hold)
  settings = ServeSettings(
    model=files["workdir"], max_waiting=1, max_batch=1, seconds=0.5
  )

  async def run():
    app = make_app(service, settings)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url=LOCAL) as client:

      def ask():
        return client.post("/v1/search", json={"text": "a"})

      tasks = [asyncio.create_task(ask())]
      while not begun.is_set():
        await asyncio.sleep(0.01)
      tasks += [asyncio.create_task(ask()) for _ in range(2)]
      done = await asyncio.gather(*tasks)
      go.set()
      return done

  by_status = {x.status_code: x for x in asyncio.run(run())}
  assert set(by_status) == {503, 504}
  assert by_status[503].headers["retry-after"] == "1"
  assert "come again" in refused(by_status[503], 503)
  assert "no answer within 0.5 s" in refused(by_status[504], 504)


def test_a_slow_request_ends(settings, service):
  """Read by hand: nothing of it is waited for longer than it may take."""
  from interbert_jax.app.serve.limits import Limits

  sent = []

  async def receive():
    await asyncio.sleep(60)

  async def send(message):
    sent.append(message)

  limits = Limits(None, max_bytes=100, seconds=0.05)
  began = time.monotonic()
  asyncio.run(limits({"type": "http", "headers": []}, receive, send))
  assert sent[0]["status"] == 408 and time.monotonic() - began < 30
