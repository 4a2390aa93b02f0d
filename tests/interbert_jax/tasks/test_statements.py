"""SNLI-VE and NLVR2: files, two images a sentence, metrics, a whole run."""

import jax
import numpy as np
import pytest

from configs import finetune_nlvr2, finetune_snli_ve
from interbert_jax.app.eval_settings import TaskReport
from interbert_jax.app.evaluate import evaluate_run
from interbert_jax.app.trained_run import TrainedRun
from interbert_jax.contract.batch import STATEMENTS, check_batch, dummy_batch
from interbert_jax.contract.errors import DataError
from interbert_jax.evaluation.statements import StatementEvaluator
from interbert_jax.model.inputs import RegionInput
from interbert_jax.model.interbert import InterBert
from interbert_jax.parallel import make_parallel
from interbert_jax.tasks.settings import StatementSettings
from interbert_jax.tasks.statements import StatementTask
from tests.support.random_run import train_two_steps
from tests.support.result_schema import read_result
from tests.support.scripts import run_script
from tests.support.tiny_data import (
  build,
  make_record,
  write_lines,
  write_tiny_store,
  write_vocab,
)
from tests.support.tiny_questions import nlvr2_line, words_of, write_nlvr2
from tests.support.tiny_task import DIMS, VOCAB, Known, tiny_config


@pytest.fixture(scope="module")
def nlvr2(tmp_path_factory):
  return write_nlvr2(tmp_path_factory.mktemp("nlvr2"))


def test_a_sentence_has_two_images_in_their_order(nlvr2):
  files, records = nlvr2
  data = build("statements", **files)
  assert data.num_examples == 8 and data.info["images_per_example"] == 2
  (batch,) = data.eval_batches(batch_size=16)
  assert check_batch(batch, STATEMENTS)["I"] == 2
  assert batch["example_weight"].sum() == 8
  for k in range(2):
    record = records[f"nlvr2_dev-7-1-img{k}"]
    count = len(record["features"])
    np.testing.assert_array_equal(
      batch["region_features"][2, k, :count], record["features"]
    )
    np.testing.assert_allclose(
      batch["global_features"][2, k],
      record["features"].astype(np.float64).mean(0),
      rtol=1e-4,
    )
  assert batch["label"][:8].tolist() == [1, 0, 0, 1, 1, 0, 0, 1]
  assert words_of(batch["text_ids"][0], batch["text_length"][0]) == (
    "[CLS] a red dog sits on the [SEP]".split()
  )
  # The same sentence, other images.
  assert data.groups[0] == data.groups[2] == "dev-7--0" != data.groups[1]


def snli_line(number, **changes):
  return {
    "Flickr30K_ID": "100",
    "pairID": f"100.jpg#{number}r1n",
    "gold_label": "neutral",
    "sentence1": "a man",
    "sentence2": "the dog runs",
    **changes,
  }


@pytest.fixture(scope="module")
def snli_ve(tmp_path_factory):
  root = tmp_path_factory.mktemp("snli_ve")
  write_tiny_store(
    root / "regions", [make_record(str(i), seed=i) for i in (100, 101)]
  )
  return {
    "format": "snli_ve",
    "store": root / "regions",
    "annotations": root,
    "split": "dev",
    "vocab": write_vocab(root / "vocab.txt"),
    "seed": 0,
    "max_regions": 4,
    "max_text_length": 8,
  }


def test_hypotheses_of_flickr30k(snli_ve):
  lines = [
    snli_line(0),
    snli_line(1, gold_label="entailment", Flickr30K_ID="101"),
    {**snli_line(2, gold_label="contradiction"), "Flikr30kID": "101.jpg"},
  ]
  path = snli_ve["annotations"] / "snli_ve_dev.jsonl"
  write_lines(path, lines[:2])
  data = build("statements", **snli_ve)
  batch = data.rows(np.arange(2), np.arange(2))
  assert batch["label"].tolist() == [1, 0]
  assert batch["region_boxes"].shape == (2, 1, 4, 4)
  assert words_of(batch["text_ids"][0], 5) == "[CLS] the dog runs [SEP]".split()
  write_lines(path, lines[2:])  # as the first release spells it
  assert build("statements", **snli_ve).labels.tolist() == [2]


@pytest.mark.parametrize(
  ("lines", "words"),
  [
    ([snli_line(0), snli_line(0)], "found '100.jpg#0r1n' again, first at"),
    (
      [snli_line(0, gold_label="-")],
      "dev.jsonl:1: field gold_label: found '-', wanted one of entailment",
    ),
    ([snli_line(0, sentence2="")], "field sentence2: found ''"),
    ([snli_line(0, Flickr30K_ID="9")], "1 of 1 images are not in .*such as 9"),
    ([], "record dev: found no statements"),
  ],
)
def test_bad_lines(snli_ve, lines, words):
  write_lines(snli_ve["annotations"] / "snli_ve_dev.jsonl", lines)
  with pytest.raises(DataError, match=words):
    build("statements", **snli_ve)


def test_files_and_identifiers(nlvr2, tmp_path):
  options = {**nlvr2[0], "annotations": tmp_path}
  with pytest.raises(DataError, match="found none of dev.jsonl, dev.json"):
    build("statements", **options)
  write_lines(tmp_path / "dev.jsonl", [{**nlvr2_line("dev", 0, 0)}])
  line = {**nlvr2_line("dev", 0, 0), "identifier": "dev-7-0"}
  write_lines(tmp_path / "dev.jsonl", [line])
  with pytest.raises(DataError, match="identifier: found 'dev-7-0', wanted"):
    build("statements", **options)


B = 3
CONFIG = tiny_config(dropout=False, num_interaction_layers=1)


@pytest.mark.parametrize("join", ["concatenate", "sum"])
def test_two_images_against_each_by_itself(join):
  """The head on both vectors is the sum of heads on each."""
  task = StatementTask(CONFIG, 2, 2, StatementSettings(join=join))
  batch = dummy_batch(
    STATEMENTS, dims={**DIMS, "B": B, "I": 2}, vocab_size=VOCAB, seed=1
  )
  batch["label"] = np.array([1, 0, 1], np.int32)
  batch["example_weight"] = np.array([1, 1, 0], np.float32)
  single = InterBert(CONFIG, {"answer_head": 2})

  @jax.jit
  def run():
    params = task.init(jax.random.key(0), batch)
    inputs = task.prepare(batch, jax.random.key(0), train=True)
    (sums, metrics) = task.losses(params, inputs)
    parts = []
    for k in range(2):
      head = params["answer_head"]["dense"]
      if join == "concatenate":
        kernel = head["kernel"].reshape(2, -1, 2)[k]
      else:
        kernel = head["kernel"]
      own = {
        **params,
        "answer_head": {"dense": {"kernel": kernel, "bias": head["bias"] / 2}},
      }
      regions = jax.tree.map(lambda x, k=k: x[k::2], inputs.regions)
      assert isinstance(regions, RegionInput)
      outputs = single.apply({"params": own}, inputs.text, regions)
      parts.append(outputs["answer_head"])
    return task.outputs(params, inputs), sum(parts), sums, metrics

  found, wanted, sums, metrics = jax.device_get(run())
  np.testing.assert_allclose(found, wanted, atol=1e-6)
  log_sum = np.log(np.exp(wanted).sum(1))
  loss = (log_sum - wanted[np.arange(B), batch["label"]])[:2].sum()
  np.testing.assert_allclose(sums["label_loss"], loss, rtol=1e-5)
  hits = (wanted.argmax(1) == batch["label"])[:2].sum()
  assert metrics["accuracy"] == (hits, 2)


def test_consistency_wants_all_of_a_sentence():
  labels = np.array([0, 1, 1, 0, 1])
  groups = ["a", "b", "a", "b", "c"]
  known = Known(np.eye(2)[[0, 1, 0, 0, 1]])
  pairs = np.arange(10).reshape(5, 2)
  evaluator = StatementEvaluator(
    predictor=known, labels=labels, groups=groups, images_NI=pairs
  )
  # Of a one is wrong; all of b and c are right.
  assert evaluator.run(None) == {
    "accuracy": 0.8,
    "consistency": pytest.approx(2 / 3),
  }
  alone = StatementEvaluator(
    predictor=known, labels=labels, groups=list("abcde"), images_NI=pairs
  )
  assert alone.run(None) == {"accuracy": 0.8}


def test_an_interval_draws_images_where_several_sentences_have_one():
  """Image 0 is all right and image 1 all wrong: any share may come out."""
  N = 20
  logits_NC = np.eye(2)[np.repeat([0, 1], N // 2)]
  for images_NI, unit, wanted in (
    (np.repeat([0, 1], N // 2)[:, None], "image", (0, 1)),
    (np.arange(2 * N).reshape(N, 2), "sentence", None),
  ):
    evaluator = StatementEvaluator(
      predictor=Known(logits_NC),
      labels=np.zeros(N, int),
      groups=[str(n) for n in range(N)],
      images_NI=images_NI,
    )
    facts = evaluator.facts(logits_NC)
    low, high = facts["intervals_95"]["accuracy"]
    assert facts["interval_unit"] == unit and facts["chance"] == 0.5
    assert (low, high) == wanted if wanted else 0.2 < low < high < 0.8


def test_a_run_from_the_files_to_the_predictions(nlvr2, tmp_path):
  files, _ = nlvr2
  config = finetune_nlvr2.get_config("runlocal")
  logged = train_two_steps(config, files, tmp_path / "run")
  run = TrainedRun(str(tmp_path / "run"), checkpoint="best", changes=[])
  path = tmp_path / "dev.csv"
  settings = TaskReport(predictions=str(path))
  found = evaluate_run(run, settings, make_parallel())["metrics"]
  assert {f"dev/{k}": v for k, v in found.items()} == {
    k: pytest.approx(v) for k, v in logged.items()
  }
  rows = [line.split(",") for line in path.read_text().splitlines()]
  wanted = [str(pair % 2 == n) for pair in range(4) for n in range(2)]
  assert rows[0][0] == "dev-7-0-0" and len(rows) == 8
  hits = [row[1] == label for row, label in zip(rows, wanted, strict=True)]
  assert found["accuracy"] == np.mean(hits)
  told = run_script("eval_task.py", f"--workdir={tmp_path / 'run'}")
  assert told.stdout.splitlines()[-1].endswith("run/eval/nlvr2_dev_2.json")
  result = read_result(tmp_path / "run/eval/nlvr2_dev_2.json")
  assert result["metrics"] == {k: pytest.approx(v) for k, v in found.items()}
  assert result["n_images"] == 8


def test_both_tasks_share_their_settings():
  one, two = finetune_snli_ve.get_config(), finetune_nlvr2.get_config()
  assert set(one.input) == set(two.input)
  assert (one.task.name, two.task.name) == ("snli_ve", "nlvr2")
