"""Training runs in one process, which may be one of several.

  python -m tests.support.pod_training JOBS.json [the flags of hosts]

Each job is {workdir, steps, mode, sharding}: the task of line_task.py, which
compiles at once, on batches of pretraining from the files beside the workdir.
WORKDIR.ids-PROCESS.json tells what this process has read: ids by step.
"""

import json
import pathlib

import jax
import numpy as np

from configs import pretrain_en
from interbert_jax.app import command_line, hosts
from tests.support import line_task
from tests.support.random_run import set_tiny
from tests.support.tiny_data import make_records, write_captions, write_vocab

BATCH = 16
WIDE = 1024  # features, so that there is something to shard


class WideLine(line_task.LineTask):
  def init(self, rng, batch):
    params = super().init(rng, batch)
    kernel = jax.random.normal(rng, (WIDE, 2)) / WIDE
    return {**params, "line": {**params["line"], "kernel": kernel}}


def write_files(root):
  from input_pipeline.store.store_writer import write_store

  rng = np.random.default_rng(0)
  records = make_records(30)
  for record in records:
    shape = (len(record["boxes"]), WIDE)
    record["features"] = rng.normal(size=shape).astype(np.float16)
  write_store(
    root / "regions",
    records,
    feature_dim=WIDE,
    num_classes=5,
    source="random",
    extractor="none",
  )
  write_captions(root / "captions.jsonl", train=24, val=5)
  write_vocab(root / "vocab.txt")


def train(workdir, *, steps, mode, sharding, devices=None):
  from interbert_jax.app.tasks import pretrain
  from interbert_jax.app.validate import read_experiment
  from interbert_jax.evaluation.evaluators import EvalBatches, LossEvaluator
  from interbert_jax.parallel import make_parallel
  from interbert_jax.training.train import train_and_evaluate

  workdir, ids = pathlib.Path(workdir), {}
  root, task = workdir.parent, WideLine()
  files = {"store": "regions", "annotations": "captions.jsonl"}
  files = {k: root / v for k, v in {**files, "vocab": "vocab.txt"}.items()}
  config = set_tiny(
    pretrain_en.get_config("runlocal"),
    {**files, "max_regions": 4, "max_text_length": 9},
  )
  settings = read_experiment(config)
  data = {split: pretrain.data(settings, split) for split in ("train", "val")}
  parallel = make_parallel(mode=mode, sharding=sharding, devices=devices)
  mine = {
    "shard_index": jax.process_index(),
    "shard_count": jax.process_count(),
  }

  def known(batch):
    return {key: batch[key] for key in task.batch_spec}

  def train_batches(first, last):
    batches = data["train"].train_batches(first, last, batch_size=BATCH, **mine)
    for step, batch in zip(range(first + 1, last + 1), batches, strict=True):
      ids[step] = batch["example_id"].tolist()
      yield known(batch)

  def held_out():
    return map(known, data["val"].eval_batches(batch_size=8, **mine))

  train_and_evaluate(
    task,
    line_task.BatchData(train_batches, {"L": 9, "R": 4, "E": WIDE, "C": 5}),
    {
      "val": LossEvaluator(
        task=task, parallel=parallel, batches=EvalBatches(held_out)
      )
    },
    line_task.run_settings(
      steps=steps,
      batch_size=BATCH,
      log_every=1,
      eval_every=2,
      optim_config={
        **line_task.OPTIM,
        "schedule": "constant",
        "lr": 1e-3,
      },
      checkpoint_config={"save_every": 2, "best_metric": ""},
      ema_decay=0.9,
    ),
    parallel,
    workdir,
  )
  name = f"{workdir.name}.ids-{jax.process_index()}.json"
  (root / name).write_text(json.dumps(ids))


def main(argv) -> None:
  for job in json.loads(pathlib.Path(argv[1]).read_text()):
    train(**job)


if __name__ == "__main__":
  command_line.define_flags(hosts.HostSettings)
  command_line.run(main)
