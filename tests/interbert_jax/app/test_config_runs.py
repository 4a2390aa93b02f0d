"""Every configuration trains two steps, on tiny files and in a tiny shape.

Those with longer tests of their own: pretrain_zh (test_configs), quickstart
(test_end_to_end), finetune_vcr, finetune_vqa and finetune_text (test_eval_task)
and finetune_nlvr2 (test_statements). pretrain_en is what its official and large
relatives begin with.
"""

import importlib

import pytest

from interbert_jax.run.metric_writer import read_metrics
from tests.interbert_jax.tasks.test_statements import snli_line
from tests.support import sentence_files, tiny_data
from tests.support.random_run import train_two_steps
from tests.support.tiny_questions import write_vcr, write_vqa
from tests.test_configs import NAMES

# Configuration -> its argument.
RUNS = [
  ("finetune_coco", "match"),
  ("finetune_flickr30k", "choice"),
  ("finetune_flickr30k", "official"),
  ("finetune_flickr30k", "triplet"),
  ("finetune_retrieval_zh", "match"),
  ("finetune_snli_ve", ""),
  ("pretrain_en_large", ""),
  ("pretrain_en_official", ""),
  ("quickstart_minilm", "random"),
  ("quickstart_retrieval", "shapes"),
  ("quickstart_text", "kinds,shapes"),
  ("quickstart_vcr", "shapes"),
  ("quickstart_vqa", "shapes"),
  ("quickstart_zh", "openmoji"),
]
ELSEWHERE = {
  *("pretrain_en", "pretrain_zh", "quickstart"),
  *("finetune_vcr", "finetune_vqa", "finetune_nlvr2", "finetune_text"),
}


def test_none_is_forgotten():
  assert {name for name, _ in RUNS} | ELSEWHERE == set(NAMES)


def captions(root):
  tiny_data.write_tiny_store(root / "regions", tiny_data.make_records(12))
  return {
    "store": root / "regions",
    "annotations": tiny_data.write_captions(root / "captions.jsonl", val=4),
    "vocab": tiny_data.write_vocab(root / "vocab.txt"),
    "train_split": "train",
    "max_regions": 4,
    "max_text_length": 8,
  }


def sentences(root):
  for name in ("train", "dev"):
    sentence_files.write_tsv(
      root / "text" / f"{name}.tsv",
      sentence_files.columns("sst2"),
      [{"sentence": "a red dog", "label": n % 2} for n in range(16)],
    )
  return {
    "directory": root / "text",
    "vocab": tiny_data.write_vocab(root / "vocab.txt"),
    "max_text_length": 8,
  }


def hypotheses(root):
  images = {"train": "7", "dev": "8"}
  tiny_data.write_tiny_store(
    root / "regions", [tiny_data.make_record(i) for i in images.values()]
  )
  for split, image in images.items():
    lines = [
      snli_line(n, Flickr30K_ID=image, pairID=f"{image}.jpg#{n}r1n")
      for n in range(8)
    ]
    tiny_data.write_lines(root / f"snli_ve_{split}.jsonl", lines)
  return {
    "store": root / "regions",
    "annotations": root,
    "vocab": tiny_data.write_vocab(root / "vocab.txt"),
    "max_regions": 4,
    "max_text_length": 8,
  }


FILES = {
  "pretrain": captions,
  "retrieval": captions,
  "text": sentences,
  "snli_ve": hypotheses,
  "vcr": lambda root: write_vcr(root)[0],
  "vqa": write_vqa,
}


@pytest.mark.parametrize(("name", "argument"), RUNS)
def test_it_trains(name, argument, tmp_path):
  config = importlib.import_module(f"configs.{name}").get_config(argument)
  task = config.task.name
  files = FILES[task](tmp_path)
  files = {key: files[key] for key in files.keys() & config.input.keys()}
  if "near_images" in config.input:
    config.input.hard_texts = 0  # mining has tests of its own
  if task == "pretrain":
    config.task.group_size = 8
    config.init_from = config.init_from or "random"
  config.model.update(tiny_data.TINY_MODEL)
  config.train.accumulate_steps = 1
  config.evals.every = 0
  if "retrieval_images" in config.evals:
    # Of retrieval itself; the others say in test_configs how they do.
    config.evals.retrieval_images = 2 if task == "retrieval" else 0
    config.evals.pairs_per_step = 8
  final = train_two_steps(config, files, tmp_path / "run")
  rows = [row for row in read_metrics(tmp_path / "run") if "loss" in row]
  assert [row["step"] for row in rows] == [1, 2] and not rows[-1]["skipped"]
  assert final[config.checkpoint.best_metric] is not None
