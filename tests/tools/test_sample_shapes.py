"""Sample data without a download: drawn, described, and built end to end."""

import collections
import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tokenizers.implementations import BertWordPieceTokenizer

from input_pipeline.annotations.load import load_captions
from input_pipeline.checks.drawing import draw_regions
from input_pipeline.store.region_store import RegionStore
from input_pipeline.text.tokenizer import Tokenizer
from tests.tools.conftest import SCENES, digests, sample_flags
from tools.sample_data import __main__ as command
from tools.sample_data import build, descriptor, shapes
from tools.sample_data.captions import write_captions
from tools.sample_data.openmoji import Standardised
from tools.sample_data.scenes import BACKGROUND, SPLITS, make_scenes, scene_rng
from tools.sample_data.sources import make_records, scene_crops

VOCAB = Path(shapes.__file__).with_name("vocab_shapes.txt")


def _crops(count=8):
  """Returns noise that no library decides on."""
  numbers = np.arange(count * 64 * 64 * 3, dtype=np.uint64)
  noise = (numbers * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(56)
  return noise.astype(np.uint8).reshape(count, 64, 64, 3)


def test_classes_and_nouns(artist):
  assert shapes.NUM_CLASSES == len(shapes.CLASS_NAMES) == 65
  assert len(artist.nouns) == 3 * 64
  by_name = {noun.en[0]: noun for noun in artist.nouns}
  red = by_name["small red triangle", "small red triangles"]
  assert red.zh == ("小红三角形", "红色的小三角形") and red.measure == "个"
  assert ("large pink cross", "large pink crosses") in by_name
  names = [name for noun in artist.nouns for name, _ in noun.en]
  assert len(set(names)) == len(names)


def test_every_shape_fills_its_box(artist):
  for index in range(0, len(artist.nouns), 7):
    sprite = artist.draw(index, 60)
    assert max(sprite.size) == 60
    solid = np.asarray(sprite.getchannel("A")) > 60
    assert solid[0].any() and solid[-1].any()
    assert solid[:, 0].any() and solid[:, -1].any()


def test_descriptor_is_whole_numbers_and_does_not_depend_on_the_batch():
  crops = _crops()
  described = descriptor.describe(crops)
  assert described.shape == (8, 864) and described.dtype == np.float32
  assert (described == np.floor(described)).all()
  assert described.min() >= 0 and described.max() <= 255
  features = descriptor.encode_crops(crops)
  assert features.shape == (8, 2048) and features.dtype == np.float32
  assert (features >= 0).all() and (features > 0).mean() > 0.3
  one_by_one = [descriptor.encode_crops(crop[None])[0] for crop in crops]
  np.testing.assert_array_equal(features, one_by_one)


def test_features_are_the_same_bits_everywhere():
  """A change here changes every feature: raise build.VERSION with it."""
  features = descriptor.encode_crops(_crops())
  digest = hashlib.sha256(features.tobytes()).hexdigest()
  assert digest.startswith("ae167645ab83b6d6")


def test_mean_of_a_cell_by_hand():
  crops = np.zeros((1, 64, 64, 3), np.uint8)
  crops[0, :8, :8, 0] = 100  # one cell of the eight by eight
  crops[0, 8:12, :8, 0] = 200  # half of the one below it
  described = descriptor.describe(crops)[0]
  cells = described[:384].reshape(8, 8, 3, 2)
  assert cells[0, 0, 0].tolist() == [100, 0]
  assert cells[1, 0, 0].tolist() == [100, 200]  # deviation 100, doubled
  assert not cells[2:].any() and not cells[:, 1:].any()


def test_features_tell_colours_and_shapes_apart(artist):
  """Nearest class mean from half of the scenes names most of the others."""
  rows, labels = [], []
  for scene in make_scenes(artist, "train", 150):
    features = descriptor.encode_crops(scene_crops(scene)[: len(scene.objects)])
    for feature, thing in zip(features, scene.objects, strict=True):
      rows.append(feature)
      labels.append(artist.base_class(thing.class_index))
  rows, labels = np.array(rows), np.array(labels)
  half = len(rows) // 2
  known = np.unique(labels[:half])
  means = np.array([rows[:half][labels[:half] == k].mean(0) for k in known])
  distances = ((rows[half:, None] - means) ** 2).sum(-1)
  right = known[distances.argmin(1)] == labels[half:]
  assert right.mean() > 0.5  # chance is 0.016


def test_wrong_crops_are_refused():
  with pytest.raises(ValueError, match=r"\(N, 64, 64, 3\) uint8"):
    descriptor.encode_crops(np.zeros((2, 32, 32, 3), np.uint8))


def test_class_probabilities(artist):
  for scene in make_scenes(artist, "train", 10):
    probs = shapes.class_probs(scene)
    assert probs.shape == (len(scene.boxes), 65) and probs.dtype == np.float32
    np.testing.assert_allclose(probs.sum(1), 1, atol=1e-5)
    assert (probs > 0).all()
    for row, owner in zip(probs, scene.region_objects, strict=True):
      wanted = 0
      if owner != BACKGROUND:
        thing = scene.objects[owner].class_index
        wanted = 1 + artist.base_class(thing)
        color, shape = shapes.CLASS_NAMES[wanted].split()
        assert color in artist.nouns[thing].en[0][0]
        assert shape in artist.nouns[thing].en[0][0]
      assert row.argmax() == wanted


def test_vocabulary_is_small_and_starts_with_the_special_tokens():
  entries = VOCAB.read_text(encoding="utf-8").split("\n")[:-1]
  assert entries[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
  assert len(set(entries)) == len(entries) < 500


def test_no_word_of_a_caption_is_unknown(artist):
  tokenizer = BertWordPieceTokenizer(str(VOCAB), lowercase=True)
  whole_words = collections.Counter()
  for split in SPLITS:
    for index, scene in enumerate(make_scenes(artist, split, 100, seed=3)):
      for language, purpose in (("en", 1), ("zh", 2)):
        rng = scene_rng(3, split, index, purpose)
        for caption in write_captions(language, scene.facts, artist.nouns, rng):
          tokens = tokenizer.encode(caption).tokens
          assert "[UNK]" not in tokens, caption
          whole_words.update(t.startswith("##") for t in tokens)
  assert whole_words[True] == 0  # all words stand in the file as they are
  assert "[UNK]" not in tokenizer.encode("some zebra? yes!").tokens


def test_built_folder_opens_as_a_store(sample, artist):
  store = RegionStore(sample / "regions")
  store.verify()
  assert len(store) == 18
  assert (store.feature_dim, store.num_classes) == (2048, 65)
  assert store.manifest["background_class"] == 0
  scene = list(make_scenes(artist, "val", 3))[2]
  record = store.read(store.rows([scene.scene_id]))[0]
  np.testing.assert_array_equal(record["boxes"], scene.boxes)
  features = descriptor.encode_crops(scene_crops(scene))
  np.testing.assert_array_equal(record["features"], features.astype("float16"))
  assert (record["width"], record["height"]) == scene.image.size
  picture = Image.open(sample / "images" / f"{scene.scene_id}.png")
  assert picture.tobytes() == scene.image.tobytes()


def test_built_captions_load_and_tokenise(sample):
  ids = set(RegionStore(sample / "regions").image_ids)
  for language in ("en", "zh"):
    tokenizer = Tokenizer(sample / f"vocab_{language}.txt")
    path = sample / f"captions_{language}.jsonl"
    for split, number in SCENES.items():
      captions = load_captions(path, split)
      assert len(captions.image_ids) == number
      assert len(captions.texts) == 5 * number
      assert set(captions.image_ids) <= ids
      table = tokenizer.encode(captions.texts)
      assert not (table.ids == tokenizer.unk_id).any()
  assert "一个" in path.read_text(encoding="utf-8")  # not escaped


def test_built_folder_says_what_it_is(sample):
  mark = json.loads((sample / "sample.json").read_text())
  assert mark["mode"] == "shapes" and mark["seed"] == 0
  assert mark["scenes"] == SCENES
  assert "interbert-jax" in (sample / "ATTRIBUTION.txt").read_text()
  classes = json.loads((sample / "classes.json").read_text(encoding="utf-8"))
  assert len(classes) == 192 and classes[0]["region_class"] == 1
  assert [p.name for p in sample.parent.iterdir()] == ["shapes"]  # no leftovers


def test_a_second_run_does_nothing(sample, capsys, monkeypatch):
  monkeypatch.setattr(build, "build_sample", None)
  before = (sample / "sample.json").stat().st_mtime_ns
  arguments = sample_flags(sample)
  assert command.main(arguments) == 0
  assert command.main([*arguments, "--overwrite"]) == 0
  assert "is ready" in capsys.readouterr().out
  assert (sample / "sample.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
  ("lost", "said"),
  [
    (
      ("questions.json", "vcr/train.jsonl", "images/val_00001.json"),
      "question",
    ),
    (("text",), "text"),
    (("recommendation", "chinese_clip"), "recommendation"),
  ],
)
def test_a_folder_from_before_gets_the_same_files(
  sample, tmp_path, lost, said, capsys
):
  """And everything else stays as it is."""
  folder = shutil.copytree(sample, tmp_path / "older")
  for name in lost:
    path = folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
  if said == "questions":
    (folder / "vqa/v2_scenes_val_annotations.json").write_text("broken")
  assert command.main(sample_flags(folder)) == 0
  assert f"added {said}" in capsys.readouterr().out
  assert digests(folder) == digests(sample)
  assert command.main(sample_flags(folder)) == 0
  told = capsys.readouterr().out
  assert "is ready" in told and "added" not in told


def test_other_parameters_need_overwrite(tmp_path, capsys):
  arguments = ["--mode=shapes", f"--output={tmp_path / 'out'}"]
  assert command.main([*arguments, "--scenes=2,1,1"]) == 0
  assert command.main([*arguments, "--scenes=1,1,1", "--seed=5"]) == 2
  error = capsys.readouterr().err
  assert "seed is 0, wanted 5" in error and "--overwrite" in error
  assert "'train': 2" in error and "'train': 1" in error
  overwrite = [*arguments, "--scenes=1,1,1", "--seed=5", "--overwrite"]
  assert command.main(overwrite) == 0
  assert len(RegionStore(tmp_path / "out" / "regions")) == 3
  assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_is_not_ours_is_never_replaced(tmp_path, capsys):
  (tmp_path / "thesis.txt").write_text("three years")
  arguments = [*sample_flags(tmp_path), "--overwrite"]
  assert command.main(arguments) == 2
  assert "no sample data" in capsys.readouterr().err
  assert (tmp_path / "thesis.txt").read_text() == "three years"


def test_a_failure_leaves_nothing(tmp_path):
  def fail(crops, scenes):
    raise KeyboardInterrupt

  source = shapes.load_shapes()
  broken = dataclasses.replace(source, encode=fail)
  numbers = {"train": 2, "val": 1, "test": 1}
  mark = {"generator_version": 1, "mode": "shapes", "seed": 0}
  with pytest.raises(KeyboardInterrupt):
    build.build_sample(
      tmp_path / "out", broken, mark={**mark, "scenes": numbers}
    )
  assert not list(tmp_path.iterdir())


def test_records_are_made_in_chunks(artist):
  sizes = []

  def encode(crops, scenes):
    sizes.append(len(scenes))
    zeros = np.zeros((len(crops), 4), np.float32)
    sizes_S = [len(scene.boxes) for scene in scenes]
    zeros[:, 0] = np.repeat(np.arange(len(scenes)), sizes_S)
    return zeros, zeros

  scenes = make_scenes(artist, "train", 40)
  records = list(make_records(scenes, encode))
  assert sizes == [32, 8]
  assert [r["image_id"] for r in records][:2] == ["train_00000", "train_00001"]
  assert [int(r["features"][0, 0]) for r in records[30:34]] == [30, 31, 0, 1]
  assert records[0]["features"].dtype == np.float16


@pytest.mark.parametrize(
  "arguments",
  [
    ["--mode=shapes", "--scenes=5"],
    ["--mode=shapes", "--scenes=5,0,5"],
    ["--mode=shapes", "--scenes=a,b,c"],
    ["--mode=shapes", "--seed=-1"],
    ["--mode=shapes", "--classes=20"],
    ["--mode=photographs"],
    [],
  ],
)
def test_wrong_arguments_are_refused(arguments, capsys):
  with pytest.raises(SystemExit) as error:
    command.parse_arguments(arguments)
  assert error.value.code == 2
  assert "error:" in capsys.readouterr().err


def test_draw_regions(artist):
  scene = next(make_scenes(artist, "test", 1))
  plain = draw_regions(scene.image, scene.boxes[:3])
  assert plain.size == (320 * 2 + 32, 240 * 2 + 32)
  labels = [artist.nouns[o.class_index].en[0][0] for o in scene.objects]
  named = draw_regions(
    scene.image, scene.boxes, labels=labels, caption="a long caption " * 8
  )
  assert named.width == plain.width and named.height > plain.height + 50
  assert named.tobytes() != plain.tobytes()


def test_the_first_call_sets_the_scale_of_features():
  def encode(crops):
    return crops * np.array([1.0, 100.0, 0.0]) + 5, crops

  rng = np.random.default_rng(0)
  first, second = rng.normal(size=(2, 500, 3))
  standardised = Standardised(encode)
  features, probs = standardised(first)
  np.testing.assert_array_equal(probs, first)
  np.testing.assert_allclose(features.mean(0), 0, atol=1e-5)
  np.testing.assert_allclose(features.std(0), [1, 1, 0], atol=0.02)
  assert features.dtype == np.float32
  # Shifted by five deviations: the scale is still the first call's.
  features, _ = standardised(second + 5)
  np.testing.assert_allclose(features[:, :2].mean(0), 5, atol=0.2)
  features, _ = standardised(second + 50)
  assert features.max() == 10
