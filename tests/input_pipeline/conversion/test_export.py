"""Stores written back for old code, and read again."""

import pickle

import numpy as np
import pytest

from input_pipeline.checks.run import run_checks
from input_pipeline.export import EXPORTERS, best_classes, export, main
from input_pipeline.formats.registry import FORMATS, find_format
from interbert_jax.contract.errors import DataError
from tests.support import format_writers as write
from tests.support import lmdb_writers
from tests.support.corpus import convert_any, make_corpus
from tests.support.scripts import run_python

CORPUS = make_corpus()


def store_of(path, output, **options):
  return convert_any(path, output, **options)[1]


@pytest.mark.parametrize("format", list(EXPORTERS))
@pytest.mark.parametrize("writer", [write.lxmert_tsv, write.volta_tsv])
def test_what_is_exported_converts_to_the_same(format, writer, tmp_path):
  first = store_of(writer(CORPUS, tmp_path), tmp_path / "first")
  path = tmp_path / "exported"
  export(first.directory, path, format=format)
  assert find_format(path)[0].name == format
  again = store_of(path, tmp_path / "again")
  kept = ["image_id", "width", "height", "features", "boxes"]
  if format == "vilbert_lmdb":
    kept += ["class_probs"] if first.num_classes else []
  else:
    kept += ["attribute_ids", "attribute_scores"]
  assert len(again) == len(first) == len(CORPUS)
  rows = range(len(first))
  for old, new in zip(first.read(rows), again.read(rows), strict=True):
    for field in kept:
      np.testing.assert_array_equal(new[field], old[field])
  if format == "lxmert_tsv":
    for image, new in zip(CORPUS, again.read(rows), strict=True):
      np.testing.assert_array_equal(new["class_ids"], image.class_ids)
      np.testing.assert_array_equal(new["class_scores"], image.class_scores)


def test_attributes_that_a_store_lacks_are_none_when_read_again(tmp_path):
  """They are written as -1, which is no attribute, and is not kept."""
  first = store_of(write.butd_tsv_7(CORPUS, tmp_path), tmp_path / "first")
  export(first.directory, tmp_path / "a.tsv", format="lxmert_tsv")
  again = store_of(tmp_path / "a.tsv", tmp_path / "again")
  record = again.read([0])[0]
  assert "class_ids" in record and "attribute_ids" not in record
  assert run_checks(again.directory).report.ok


def test_the_lmdb_is_what_the_official_reader_takes(tmp_path):
  """Key, pickle and texts by hand, as that code looks them up."""
  import lmdb

  store = store_of(write.butd_tsv_7(CORPUS, tmp_path), tmp_path / "store")
  export(store.directory, tmp_path / "a.lmdb", format="vilbert_lmdb")
  env = lmdb.open(str(tmp_path / "a.lmdb"), readonly=True, lock=False)
  with env.begin() as transaction:
    keys = pickle.loads(transaction.get(b"keys"))
    assert keys == [image.image_id.encode() for image in CORPUS]
    item = pickle.loads(transaction.get(keys[1]))
  image = CORPUS[1]
  assert int(item["image_h"]) == image.height
  assert int(item["image_w"]) == image.width
  import base64

  R = int(item["num_boxes"])
  for field, want in (("features", image.features), ("boxes", image.boxes)):
    found = np.frombuffer(base64.b64decode(item[field]), np.float32)
    np.testing.assert_array_equal(found.reshape(R, -1), want)


def test_eight_bit_stores_are_written_as_they_read(tmp_path):
  path = write.lxmert_tsv(CORPUS, tmp_path)
  first = store_of(path, tmp_path / "first", features="uint8")
  export(first.directory, tmp_path / "a.tsv", format="lxmert_tsv")
  again = store_of(tmp_path / "a.tsv", tmp_path / "again")
  for old, new in zip(first.read([0, 1]), again.read([0, 1]), strict=True):
    np.testing.assert_array_equal(new["features"], old["features"])


def test_classes_of_probabilities_are_without_the_background():
  probs = np.array([[0.9, 0.04, 0.06], [0.1, 0.7, 0.2]], np.float16)
  ids, scores = best_classes({"class_probs": probs}, background_class=0)
  assert ids.tolist() == [1, 0]
  np.testing.assert_allclose(scores, [0.06, 0.7], rtol=1e-3)
  ids, _ = best_classes({"class_probs": probs}, background_class=None)
  assert ids.tolist() == [0, 1]
  classes = best_classes({"class_ids": [4, 5]}, background_class=None)
  assert classes == ([4, 5], None)


def test_what_cannot_be_exported_says_so(tmp_path, capsys):
  path = write.butd_tsv_6(CORPUS, tmp_path)
  store = store_of(path, tmp_path / "store")
  arguments = [f"--store={store.directory}", f"--output={tmp_path / 'out'}"]
  assert main([*arguments, "--format=lxmert_tsv"]) == 2
  assert "has no classes, which this format needs" in capsys.readouterr().err
  names = sorted(p.name for p in tmp_path.iterdir())
  assert names == ["store", "trainval.tsv"]
  assert main([*arguments, "--format=vilbert_lmdb"]) == 0
  assert main([*arguments, "--format=vilbert_lmdb"]) == 2
  assert "exists" in capsys.readouterr().err


@pytest.mark.parametrize(
  ("image_id", "format", "words"),
  [
    ("a\tb", "lxmert_tsv", "a tab or line end"),
    ("a" * 600, "vilbert_lmdb", "found 600 bytes, LMDB keys end at 511"),
  ],
)
def test_ids_that_a_format_cannot_hold(image_id, format, words, tmp_path):
  import dataclasses

  image = dataclasses.replace(CORPUS[0], image_id=image_id)
  path = (
    lmdb_writers.volta_lmdb([image], tmp_path) if "\t" in image_id else None
  )
  if path is None:
    path = write.lxmert_tsv([image], tmp_path)
  store = store_of(path, tmp_path / "store")
  with pytest.raises(DataError, match=words):
    export(store.directory, tmp_path / "out", format=format)
  assert not list(tmp_path.glob("*out*"))


def test_the_commands_from_a_shell(tmp_path):
  """Convert and export as users run them; progress goes to stderr."""
  source = write.lxmert_tsv(CORPUS, tmp_path)

  def run(module, *arguments, status=0):
    done = run_python("-m", f"input_pipeline.{module}", *arguments)
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr

  store = tmp_path / "store"
  out, err = run("convert", f"--source={source}", f"--output={store}")
  assert f"{store}: 6 images in 1 shards" in out
  assert "lxmert_tsv (10 tab-separated columns, 3 boxes and features of" in err
  assert "class_ids, class_scores, attribute_ids, attribute_scores" in out
  exported = tmp_path / "exported.lmdb"
  out, _ = run(
    "export",
    f"--store={store}",
    f"--output={exported}",
    "--format=vilbert_lmdb",
  )
  assert out == f"{exported}\n"
  out, err = run("convert", f"--source={source}", f"--output={store}", status=2)
  assert err.startswith(f"{source}: lxmert_tsv")
  assert "error: " in err
  assert "Traceback" not in err
  out, _ = run("convert", "--list_formats")
  assert [line.split()[0] for line in out.splitlines()] == list(FORMATS)
