"""A workdir of a tiny model with random weights, over tiny_data's files."""

import dataclasses

from configs import common
from input_pipeline.text.tokenizer import Tokenizer
from interbert_jax.checkpoints import params as checkpoint_params
from interbert_jax.contract import json_file
from interbert_jax.contract.batch import CANDIDATES, dummy_batch
from interbert_jax.model.config import make_config
from interbert_jax.tasks.retrieval import RetrievalTask
from interbert_jax.tasks.settings import RetrievalSettings
from tests.support.random_run import random_params
from tests.support.tiny_data import (
  E,
  make_records,
  write_tiny_store,
  write_vocab,
)
from tests.support.tiny_task import NO_DROPOUT

L, R = 9, 4


def write_run(root, *, images=11, step=7, seed=0, itc_weight=0.0):
  """The workdir; its store has im0, im1, ..."""
  write_tiny_store(root / "regions", make_records(images))
  vocab = Tokenizer(write_vocab(root / "vocab.txt"))
  model = make_config(
    "tiny",
    vocab_size=vocab.vocab_size,
    region_feature_dim=E,
    num_region_classes=5,
    hidden_size=32,
    num_interaction_layers=1,
    **NO_DROPOUT,
  )
  dims = {"B": 1, "T": 1, "I": 1, "L": L, "R": R, "E": E}
  example = dummy_batch(CANDIDATES, dims=dims, vocab_size=vocab.vocab_size)
  workdir = root / "workdir"
  settings = RetrievalSettings(itc_weight=itc_weight, vector_dim=6)
  config = common.base_config("retrieval")
  config.train.steps = step
  config.task.itc_weight, config.task.vector_dim = itc_weight, 6
  config.input.hard_texts = 0
  config.input.store = str(root / "regions")
  config.input.annotations = str(root / "captions.jsonl")
  config.input.vocab = str(root / "vocab.txt")
  config.input.max_regions = R
  config.input.max_text_length = L
  config.evals.pairs_per_step = 16
  config.checkpoint.best_metric = ""
  checkpoint_params.save_params(
    workdir / "checkpoints" / str(step),
    random_params(RetrievalTask(model, settings), example, seed=seed),
    {
      "model": dataclasses.asdict(model),
      "vocab_sha256": vocab.sha256,
      "step": step,
      "config": config.to_dict(),
    },
  )
  json_file.write_json(workdir / "config.json", config.to_dict())
  return workdir


def write_kdd(root):
  """Queries of the KDD Cup, their answers and products; eval_kdd's flags."""
  # The competition's ids are digits alone.
  products = enumerate(make_records(11))
  write_tiny_store(
    root / "products", [{**r, "image_id": str(n)} for n, r in products]
  )
  lines = ["product_id\tquery\tquery_id"]
  lines += [f"{n}\ta dog\t1" for n in range(6)]
  lines += [f"{n}\tthe cat\t2" for n in range(4, 11)]
  (root / "valid.tsv").write_text("\n".join(lines) + "\n")
  json_file.write_json(root / "valid_answer.json", {"1": [2], "2": [9, 4]})
  return (
    f"--set=input.store={root / 'products'}",
    f"--queries={root / 'valid.tsv'}",
    f"--answers={root / 'valid_answer.json'}",
  )
