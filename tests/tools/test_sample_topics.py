"""Topics over the sample scenes: true of the scenes, added to old folders."""

import json
import shutil

import pytest

from input_pipeline.annotations.chinese_clip import read_query_texts
from input_pipeline.annotations.load import load_captions
from input_pipeline.catalogues.item_list import read_items
from input_pipeline.catalogues.relevance_log import read_relevance
from input_pipeline.catalogues.topics import read_topics
from input_pipeline.text.tokenizer import Tokenizer
from tests.support.tiny_data import caption_line, write_lines
from tests.tools.conftest import digests
from tools.sample_data import topics as topics_lib
from tools.sample_data.scenes import SPLITS, make_scenes, scene_counts
from tools.sample_data.shapes import load_shapes
from tools.sample_data.topics import add_ranking_files

NUMBERS = {"train": 30, "val": 6, "test": 40}
MARK = {"scenes": NUMBERS, "seed": 0}
NEW = ("recommendation", "chinese_clip")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """What a finished folder has, but for pictures and features."""
  folder = tmp_path_factory.mktemp("sample")
  source = load_shapes()
  (folder / "classes.json").write_text(json.dumps(source.classes))
  source.copy_vocabs(folder)
  captions = [
    caption_line(f"{split}_{n:05d}", f"一个{split}{n}", split=split)
    for split in SPLITS
    for n in range(NUMBERS[split])
  ]
  write_lines(folder / "captions_zh.jsonl", captions)
  assert add_ranking_files(folder, MARK) == list(NEW)
  return folder


@pytest.fixture(scope="module")
def shown(artist):
  """Scene -> names of what was really drawn."""
  return {
    scene.scene_id: {
      artist.nouns[thing.class_index].en[0][0] for thing in scene.objects
    }
    for split in SPLITS
    for scene in make_scenes(artist, split, NUMBERS[split])
  }


def things_of(topic):
  return [part.split(" ", 1)[1] for part in topic.text.split(" and ")]


def test_contents_are_those_of_the_drawn_scenes(artist):
  counts = list(scene_counts(artist, "val", 6, seed=5))
  for scene, found in zip(
    make_scenes(artist, "val", 6, seed=5), counts, strict=True
  ):
    drawn = [thing.class_index for thing in scene.objects]
    assert {index: drawn.count(index) for index in drawn} == found


def test_relevance_is_what_the_scenes_show(folder, shown):
  path = folder / "recommendation"
  topics = read_topics(path / "topics_en.jsonl")
  relevance = read_relevance(path / "relevance.tsv")
  items = [item.item_id for item in read_items(path / "items_en.jsonl")]
  assert items == [f"test_{n:05d}" for n in range(NUMBERS["test"])]
  assert {len(things_of(topic)) for topic in topics} == {1, 2}
  for topic in topics:
    wanted = {
      item: len(shown[item] & set(things_of(topic)))
      for item in items
      if shown[item] & set(things_of(topic))
    }
    assert relevance[topic.topic_id] == wanted
    assert len(wanted) >= 2
    for example in topic.examples:
      assert example.startswith("train_")
      assert set(things_of(topic)) <= shown[example]
  assert any(topic.examples for topic in topics)


def test_both_languages_say_the_same(folder):
  path = folder / "recommendation"
  vocab = Tokenizer(folder / "vocab_zh.txt")
  english, chinese = (
    read_topics(path / f"topics_{language}.jsonl") for language in ("en", "zh")
  )
  assert [t.topic_id for t in english] == [t.topic_id for t in chinese]
  assert [t.examples for t in english] == [t.examples for t in chinese]
  for topic, other in zip(chinese, english, strict=True):
    assert topic.text.count("一个") == len(things_of(other))
    assert vocab.unk_id not in vocab.encode([topic.text]).ids


def test_titles_name_one_of_the_things(folder, shown):
  for item in read_items(folder / "recommendation/items_en.jsonl"):
    assert item.title.split(" ", 1)[1] in shown[item.item_id]


def test_clicks_are_mostly_right(folder):
  path = folder / "recommendation"
  relevance = read_relevance(path / "relevance.tsv")
  clicks = read_relevance(path / "clicks.tsv", kind="clicks")
  assert clicks.keys() == relevance.keys()
  clicked = [(t, item) for t, items in clicks.items() for item in items]
  right = [item in relevance[t] for t, item in clicked]
  assert 0.6 < sum(right) / len(right) < 1  # a log has its strays


def test_captions_to_fine_tune_on(folder, shown):
  for split in SPLITS:
    path = folder / "recommendation/pairs_en.jsonl"
    captions = load_captions(path, split)
    assert len(captions.image_ids) == NUMBERS[split]
    for text, image in zip(captions.texts, captions.image_of_text, strict=True):
      assert text.split(" ", 1)[1] in shown[captions.image_ids[image]]


def test_chinese_queries(folder):
  path = folder / "chinese_clip"
  for name, split in (("valid", "val"), ("test", "test")):
    queries = read_query_texts(path / f"{name}_texts.jsonl")
    pool = [item.item_id for item in read_items(path / f"{name}_ids.txt")]
    assert pool == [f"{split}_{n:05d}" for n in range(NUMBERS[split])]
    assert [q.text_id for q in queries] == list(range(len(queries)))
    first = queries[: len(pool)]
    assert [q.image_ids for q in first] == [(item,) for item in pool]
    assert first[0].text == f"一个{split}0"
    assert {i for q in queries for i in q.image_ids} == set(pool)
  assert max(len(q.image_ids) for q in queries) > 1


def test_only_what_is_missing_is_made_and_is_the_same(folder, tmp_path):
  before = digests(folder)
  assert add_ranking_files(folder, MARK) == []
  shutil.rmtree(folder / "chinese_clip")
  assert add_ranking_files(folder, MARK) == ["chinese_clip"]
  assert digests(folder) == before
  things = topics_lib.Things(json.loads((folder / "classes.json").read_text()))
  shown = topics_lib.contents(things, NUMBERS, 0)
  other = topics_lib.contents(things, NUMBERS, 1)
  assert shown != other


def test_a_failure_leaves_nothing(folder, tmp_path):
  broken = tmp_path / "sample"
  broken.mkdir()
  shutil.copy(folder / "classes.json", broken)
  with pytest.raises(FileNotFoundError):  # there are no captions
    add_ranking_files(broken, MARK)
  assert {p.name for p in broken.iterdir()} == {
    "classes.json",
    "recommendation",
  }
