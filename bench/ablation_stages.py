"""The rows of the ablation, and what is measured of each."""

import json
import pathlib
from collections.abc import Mapping

from bench.core_jobs import held_out_metrics
from interbert_jax.app.overrides import change_config

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CAPTIONS_PER_IMAGE = 2  # of the test split, to be scored with every image

NO_MLM = {"task.mlm_weight": 0.0, "task.text_masking.rate": 0.0}
NO_MRM = {"task.mrm_weight": 0.0, "task.region_masking.rate": 0.0}
TOKENS = {"task.text_masking.rule": "token", "task.text_masking.rate": 0.15}


def layers(interaction: int, streams: int) -> dict[str, int]:
  return {
    "model.num_interaction_layers": interaction,
    "model.num_text_layers": streams,
    "model.num_region_layers": streams,
  }


# Name in files -> (name in the table, changes). Rows from "full" on differ from
# it in one thing; each of the four before adds one to the row above.
VARIANTS = {
  "none": ("no pretraining", None),
  "itm": ("ITM", {**NO_MLM, **NO_MRM}),
  "mlm": ("MLM + ITM", {**TOKENS, **NO_MRM}),
  "msm": ("MSM + ITM", NO_MRM),
  "full": ("MSM + MRM + ITM", {}),
  "hard": ("… + hard negatives", {"input.negatives": "hard_captions"}),
  "conditional": (
    "… + conditional masking",
    {"task.conditional_masking": True},
  ),
  "single": ("4 + 0: single stream only", layers(4, 0)),
  "split22": ("2 + 2", layers(2, 2)),
  "split13": ("1 + 3", layers(1, 3)),
  "two": ("0 + 4: two streams only", layers(0, 4)),
}


def write_small_vocabulary(data: pathlib.Path, path: pathlib.Path):
  """The pieces that the captions use; they cut as before, being the longest."""
  import numpy as np

  from input_pipeline.text.tokenizer import Tokenizer

  tokenizer = Tokenizer(data / "vocab_en.txt")
  lines = (data / "captions_en.jsonl").read_text("utf-8").splitlines()
  texts = [text for line in lines for text in json.loads(line)["captions"]]
  words = (data / "vocab_en.txt").read_text("utf-8").split("\n")
  used = [words[i] for i in np.unique(tokenizer.encode(texts).ids)]
  rest = [word for word in used if word not in SPECIAL]
  path.write_text("\n".join([*SPECIAL, *rest]) + "\n", "utf-8")


def prepare(options) -> pathlib.Path:
  """Sample data, the small vocabulary, mined captions and images."""
  from configs import common
  from input_pipeline import mine_negatives
  from tools.sample_data.__main__ import main as make_sample_data

  data = pathlib.Path(common.cache_dir(f"sample_{options.data}"))
  make_sample_data([f"--mode={options.data}"])
  options.workdir.mkdir(parents=True, exist_ok=True)
  if not (options.workdir / "vocab.txt").exists():
    write_small_vocabulary(data, options.workdir / "vocab.txt")
  for kind, name in (("captions", "hard_captions"), ("images", "near_images")):
    if not (options.workdir / name).exists():
      mine_negatives.main(
        [
          f"--kind={kind}",
          f"--store={data / 'regions'}",
          f"--annotations={data / 'captions_en.jsonl'}",
          f"--output={options.workdir / name}",
        ]
      )
  return data


def train(
  options, variant: str, seed: int, config, workdir: pathlib.Path, changes: dict
) -> dict[str, float]:
  """Trains what the variant asks for; returns the held-out metrics."""
  own = VARIANTS[variant][1] or {}
  changes = {
    "seed": seed,
    "input.vocab": options.workdir / "vocab.txt",
    "evals.every": 0,
    "train.log_every": 100,
    **{key: own[key] for key in own if key.startswith("model.")},
    **changes,
  }
  changes["checkpoint.save_every"] = changes["train.steps"]
  config = change_config(config, as_typed(changes))
  metrics = held_out_metrics(config, workdir)
  return {key.removeprefix("val/"): value for key, value in metrics.items()}


def as_typed(changes: Mapping) -> list[str]:
  """Settings and their values as one types them after --set."""
  return [f"{key}={value}" for key, value in changes.items()]


def pretrain(options, variant: str, seed: int, folder: pathlib.Path) -> dict:
  from configs import quickstart

  changes = {
    "train.steps": options.steps,
    "task.text_masking.rule": "segment",
    "task.text_masking.rate": 0.1,
    "task.mlm_rows": 3.0,
    "evals.retrieval_images": 0,
    **VARIANTS[variant][1],
  }
  if "input.negatives" in changes:
    changes["input.negatives"] = options.workdir / changes["input.negatives"]
  config = quickstart.get_config(options.data)
  workdir = folder / "pretrain"
  return {
    **train(options, variant, seed, config, workdir, changes),
    **retrieval(workdir),
    **text_only(workdir),
  }


def finetune(options, variant: str, seed: int, folder: pathlib.Path) -> dict:
  from configs import quickstart_retrieval

  config = quickstart_retrieval.get_config(options.data)
  changes = {
    "init_from": start(options, variant, folder),
    "train.steps": options.finetune_steps,
    "input.random_texts": 1,
    "input.hard_texts": 1,
    "input.near_images": options.workdir / "near_images",
    "evals.retrieval_images": 20,
    "evals.pairs_per_step": 500,
  }
  train(options, variant, seed, config, folder / "finetune", changes)
  return retrieval(folder / "finetune")


def sentences(options, variant: str, seed: int, folder: pathlib.Path) -> dict:
  """Do two captions describe the same scene? Half of the pairs do."""
  from configs import quickstart_text

  config = quickstart_text.get_config(f"pairs,{options.data}")
  changes = {
    "init_from": start(options, variant, folder),
    "train.steps": options.text_steps,
  }
  return train(options, variant, seed, config, folder / "text", changes)


def start(options, variant: str, folder: pathlib.Path) -> str:
  if VARIANTS[variant][1] is None:
    return ""
  return str(folder / "pretrain/checkpoints" / str(options.steps))


def retrieval(workdir: pathlib.Path) -> dict:
  """Recalls over the test scenes, with some captions of each."""
  from interbert_jax.app import build
  from interbert_jax.app.trained_run import TrainedRun
  from interbert_jax.parallel import make_parallel
  from interbert_jax.tasks.retrieval import SCORES

  fewer = {"input.captions.captions_per_image": CAPTIONS_PER_IMAGE}
  run = TrainedRun(str(workdir), checkpoint="latest", changes=as_typed(fewer))
  parallel = make_parallel()
  evaluator, _ = build.retrieval_evaluator(
    run.settings,
    "test",
    model=run.model,
    parallel=parallel,
    score=SCORES[getattr(run.settings.task, "loss", "match")],
  )
  return evaluator.run(run.placed_params(parallel))


def text_only(workdir: pathlib.Path) -> dict:
  """How many masked words of test captions are found without their picture."""
  import numpy as np

  from interbert_jax.app import build
  from interbert_jax.app.tasks import pretrain as parts
  from interbert_jax.app.trained_run import TrainedRun
  from interbert_jax.evaluation.evaluators import EvalBatches, LossEvaluator
  from interbert_jax.parallel import make_parallel

  # The same masks for every row: single words, as BERT hides them.
  changes = {**TOKENS, "input.mismatch_prob": 0.0, "input.negatives": ""}
  run = TrainedRun(str(workdir), checkpoint="latest", changes=as_typed(changes))
  if not run.config["task"]["mlm_weight"]:
    return {}
  data = parts.data(run.settings, "test")
  parallel = make_parallel()

  def batches():
    for batch in data.eval_batches(batch_size=100):
      yield {**batch, "num_regions": np.zeros_like(batch["num_regions"])}

  evaluator = LossEvaluator(
    task=build.make_task(run.settings, data.info, run.model),
    parallel=parallel,
    batches=EvalBatches(batches),
  )
  metrics = evaluator.run(run.placed_params(parallel))
  return {f"text_only_{key}": metrics[key] for key in ("mlm_acc", "mlm_loss")}


STAGES = {"zeroshot": pretrain, "finetuned": finetune, "text": sentences}


def has_stage(variant: str, stage: str) -> bool:
  """Without pretraining there is nothing to measure of it."""
  return stage != "zeroshot" or VARIANTS[variant][1] is not None
