"""Batches of sentences: packing, truncation, order, and the contract."""

import numpy as np
import pytest

from input_pipeline.text.pack import kept_lengths
from interbert_jax.contract.batch import text_spec
from tests.support import sentence_files as files
from tests.support.batch_checks import check_batches, check_fingerprints
from tests.support.tiny_data import VOCAB, WORDS, build, write_vocab

ROWS = 11
CLS, SEP = VOCAB.index("[CLS]"), VOCAB.index("[SEP]")


@pytest.fixture(scope="module")
def options(tmp_path_factory):
  root = tmp_path_factory.mktemp("sentences")
  rng = np.random.default_rng(0)

  def words():
    return " ".join(rng.choice(WORDS, rng.integers(1, 6)))

  for task, label in (("rte", "entailment"), ("stsb", 2.5)):
    rows = [
      {"sentence1": words(), "sentence2": words(), "label": label, "score": n}
      for n in range(ROWS)
    ]
    rows[3] |= {"sentence1": "the dogs sits", "sentence2": "a man on a red cat"}
    for split in ("train", "dev"):
      files.write_tsv(root / task / f"{split}.tsv", files.columns(task), rows)
  return {
    "task": "rte",
    "directory": root / "rte",
    "split": "train",
    "vocab": write_vocab(root / "vocab.txt"),
    "max_text_length": 9,
    "seed": 3,
  }


def ids(text):
  return [VOCAB.index(word) for word in text.split()]


def test_a_pair_in_its_slots(options):
  row = np.array([3])
  wide = build("text", **{**options, "max_text_length": 16}).rows(row, row)
  first, second = ids("the dog ##s sits"), ids("a man on a red cat")
  whole = [CLS, *first, SEP, *second, SEP]
  assert wide["text_length"].tolist() == [len(whole)]
  assert wide["text_ids"][0].tolist() == [*whole, 0, 0, 0]
  assert wide["text_types"][0].tolist() == [0] * 6 + [1] * 7 + [0] * 3
  # Six slots for pieces: three of each.
  cut = build("text", **options).rows(row, row)
  assert cut["text_ids"][0].tolist() == [CLS, *first[:3], SEP, *second[:3], SEP]
  assert cut["text_types"][0].tolist() == [0] * 5 + [1] * 4
  assert cut["text_length"].tolist() == [9]


def longest_first(first, second, room):
  """BERT's loop, piece by piece."""
  while first + second > room:
    if first > second:
      first -= 1
    else:
      second -= 1
  return first, second


def test_truncation_is_that_of_the_loop():
  first, second = (x.ravel() for x in np.mgrid[0:12, 0:12])
  for max_length in (5, 6, 9, 12):
    kept = kept_lengths([first, second], max_length)
    wanted = [
      longest_first(a, b, max_length - 3)
      for a, b in zip(first, second, strict=True)
    ]
    np.testing.assert_array_equal(np.stack(kept, 1), wanted)
  (alone,) = kept_lengths([first], 9)
  np.testing.assert_array_equal(alone, np.minimum(first, 7))


def test_truncated_examples_are_counted(options, capsys):
  texts = build("text", **options).sentences.texts
  lengths = [[len(text.split()) for text in column] for column in texts]
  total = np.sum(lengths, 0)
  total[3] += 1  # "dogs" is two pieces
  data = build("text", **options)
  assert data.info["num_truncated_texts"] == (total > 6).sum() > 0
  assert (
    f"{(total > 6).sum()} of 11 examples are cut" in capsys.readouterr().err
  )


@pytest.mark.parametrize(
  ("task", "dtype"), [("rte", "int32"), ("stsb", "float32")]
)
def test_every_batch(options, task, dtype):
  options = {
    **options,
    "task": task,
    "directory": options["directory"].parent / task,
  }
  spec = text_spec(label_dtype=dtype)
  check_batches("text", options, spec=spec, has_images=False)
  if task == "stsb":
    batch = next(build("text", **options).train_batches(0, 1, batch_size=4))
    np.testing.assert_array_equal(batch["label"], batch["example_id"])


def test_every_option_changes_the_fingerprint(options):
  other = {"task": "stsb", "directory": options["directory"].parent / "stsb"}
  check_fingerprints("text", options, [{"max_text_length": 8}, other])


def test_a_vocabulary_of_another_language(options, tmp_path, capsys):
  vocab = write_vocab(tmp_path / "vocab.txt", [*VOCAB[:5], "a", "the"])
  build("text", **{**options, "vocab": vocab})
  assert "of the pieces are unknown" in capsys.readouterr().err


def test_room_for_a_piece_of_each(options):
  build("text", **{**options, "max_text_length": 5})
  with pytest.raises(ValueError, match="max_text_length is 4, wanted .*5"):
    build("text", **{**options, "max_text_length": 4})
