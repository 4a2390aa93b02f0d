"""Vectors of a catalogue: the same however made, and what they save."""

import dataclasses
import json

import numpy as np
import pytest

import interbert_jax as ib
from interbert_jax.app.eval_settings import RetrievalReport
from interbert_jax.app.tasks.retrieval import report
from interbert_jax.app.use import index as indexing
from interbert_jax.app.use.index import IndexSettings, VectorIndex, write_index
from interbert_jax.contract.errors import (
  CheckpointError,
  ConfigError,
  DataError,
)
from interbert_jax.model.inputs import image_input, text_input
from interbert_jax.model.interbert import InterBert
from tests.interbert_jax.app.conftest import IMAGES, TEXTS
from tests.support.tiny_data import write_captions
from tests.support.tiny_run import write_run

pytest.importorskip("faiss")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  root = tmp_path_factory.mktemp("vectors")
  write_captions(root / "captions.jsonl", train=IMAGES - 8)
  return write_run(root, images=IMAGES, itc_weight=1.0)


@pytest.fixture(scope="module")
def model(workdir):
  return ib.load(workdir)


@pytest.fixture
def settings(workdir, tmp_path):
  return IndexSettings(
    model=str(workdir), output=str(tmp_path / "index"), part_images=4
  )


@pytest.fixture(autouse=True)
def fresh():
  indexing._open.cache_clear()


def test_vectors_are_those_of_each_alone(model):
  interbert = InterBert(model.run.model, {"vector_head": 6})
  packed = model.texts.pack(TEXTS[:3])
  names = ["im2", "im5"]

  def alone(text, regions):
    return interbert.apply(
      {"params": model.run.params}, text, regions, method="vectors"
    )

  text, _, _ = alone(
    text_input(packed["text_ids"], packed["text_length"]), None
  )
  arrays = model.images.find(names).read(range(2))
  _, images, scale = alone(None, image_input(arrays))
  close = {"rtol": 1e-4, "atol": 1e-5}
  np.testing.assert_allclose(model.vectors(TEXTS[:3]), text, **close)
  np.testing.assert_allclose(model.vectors(images=names), images, **close)
  np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, rtol=1e-5)
  assert 0 < float(scale) <= 100
  with pytest.raises(ConfigError, match="texts or images"):
    model.vectors()


def all_vectors(index):
  return index._index.reconstruct_n(0, index.facts["count"])


def test_an_index_has_all_vectors(model, settings):
  assert "11 vectors of 6 numbers" in write_index(settings)
  index = VectorIndex(settings.output)
  wanted = model.vectors(images=model.catalogue())
  np.testing.assert_allclose(all_vectors(index), wanted, rtol=1e-5, atol=1e-6)
  queries = model.vectors(TEXTS)
  found = index.nearest(queries, 3)
  likeness = queries @ wanted.T
  np.testing.assert_array_equal(found, np.argsort(-likeness, axis=1)[:, :3])
  assert "made before" in write_index(settings)


def test_an_interrupted_index_goes_on(settings, model, monkeypatch):
  done, real = [], indexing.write_part

  def dies(settings, parts, number):
    if len(done) == 2:
      raise KeyboardInterrupt
    done.append(number)
    return real(settings, parts, number)

  monkeypatch.setattr(indexing, "write_part", dies)
  with pytest.raises(KeyboardInterrupt):
    write_index(settings)
  with pytest.raises(DataError, match=r"has no index\.json"):
    VectorIndex(settings.output)
  again = []
  monkeypatch.setattr(
    indexing, "write_part", lambda *x: again.append(x[2]) or real(*x)
  )
  write_index(settings)
  assert (done, again) == ([0, 1], [2])
  np.testing.assert_allclose(
    all_vectors(VectorIndex(settings.output)),
    model.vectors(images=model.catalogue()),
    rtol=1e-5,
    atol=1e-6,
  )


def test_half_as_many_bytes_and_parquet(settings, model, tmp_path):
  small = dataclasses.replace(
    settings, output=str(tmp_path / "small"), numbers="float16", parquet=True
  )
  write_index(small)
  wanted = model.vectors(images=model.catalogue())
  np.testing.assert_allclose(
    all_vectors(VectorIndex(small.output)), wanted, atol=1e-3
  )
  parquet = pytest.importorskip("pyarrow.parquet")
  table = parquet.read_table(tmp_path / "small" / "vectors.parquet")
  assert table["image_id"].to_pylist() == list(model.catalogue().item_ids)
  np.testing.assert_allclose(
    np.stack(table["vector"].to_numpy()), wanted, rtol=1e-5, atol=1e-6
  )


def test_a_pipeline_makes_the_same(settings, tmp_path):
  pytest.importorskip("apache_beam")
  write_index(settings)
  other = dataclasses.replace(settings, output=str(tmp_path / "beam"), beam="")
  write_index(other)
  np.testing.assert_array_equal(
    all_vectors(VectorIndex(other.output)),
    all_vectors(VectorIndex(settings.output)),
  )


def test_a_search_by_index(settings, model):
  write_index(settings)
  index = VectorIndex(settings.output)
  exact = model.search_all(TEXTS, top=4)
  same = model.search_all(TEXTS, top=4, index=index, shortlist=IMAGES)
  for found, wanted in zip(same, exact, strict=True):
    assert [x.image_id for x in found] == [x.image_id for x in wanted]
  (few,) = model.search_all(TEXTS[:1], top=9, index=index, shortlist=3)
  ids = model.catalogue().item_ids
  nearest = index.nearest(model.vectors(TEXTS[:1]), 3)[0]
  assert {x.image_id for x in few} == {ids[n] for n in nearest}
  scores = [x.score for x in few]
  assert scores == sorted(scores, reverse=True)


def test_topics_by_index(settings, model):
  write_index(settings)
  index = ib.VectorIndex(settings.output)
  topics = ["a dog", ib.Wanted("the cat runs", ("im3", "im6"))]
  exact = model.recommend(topics, top=5)
  same = model.recommend(topics, top=5, index=index, shortlist=IMAGES)
  for found, wanted in zip(same, exact, strict=True):
    assert [x.image_id for x in found] == [x.image_id for x in wanted]
  few = model.recommend(topics[:1], top=9, index=index, shortlist=2)
  nearest = index.nearest(model.vectors("a dog"), 2)[0]
  ids = model.catalogue().item_ids
  assert {x.image_id for x in few[0]} == {ids[n] for n in nearest}


def test_vectors_of_something_else_are_refused(
  settings, files, model, tmp_path
):
  write_index(settings)
  index = VectorIndex(settings.output)
  some = model.catalogue().choose(["im1", "im2"])
  with pytest.raises(ConfigError, match="catalogue_fingerprint is"):
    model.search("a dog", some, index=index)
  (tmp_path / "index" / "vectors.faiss").write_bytes(b"damaged")
  with pytest.raises(DataError, match="make the index anew"):
    VectorIndex(settings.output)
  with pytest.raises(CheckpointError, match="trained without task.itc_weight"):
    ib.load(files["workdir"]).vectors("a dog")


def test_the_evaluation_of_a_shortlist(model, parallel, tmp_path, capsys):
  def evaluate(count, **options):
    path = tmp_path / f"{count}.json"
    settings = RetrievalReport(
      split="train", shortlist=count, output=str(path), **options
    )
    metrics = report(model.run, settings, parallel)
    return metrics, json.loads(path.read_text())

  total = IMAGES - 8
  metrics, result = evaluate(total)
  assert result["task"] == "retrieval_shortlist"
  assert result["n_pairs_scored"] == result["n_pairs"] == total * 6
  names = {name.partition("_")[0] for name in metrics}
  assert names == {"vectors", "shortlist", "exact"}
  for key, value in metrics.items():
    if key.startswith("exact_"):
      other = key.replace("exact", "shortlist")
      assert metrics[other] == pytest.approx(value), key
  metrics, result = evaluate(1, exact=False)
  assert not any(name.startswith("exact") for name in metrics)
  assert result["n_pairs_scored"] < result["n_pairs"]
  # One candidate: its score cannot change the order of the first.
  key = "image_retrieval_recall@1"
  assert metrics[f"shortlist_{key}"] == metrics[f"vectors_{key}"]
  with pytest.raises(ConfigError, match="wanted at most"):
    evaluate(total + 1)
  assert "pairs scored" in capsys.readouterr().out
