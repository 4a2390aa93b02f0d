"""Retrieval with a pretrained or fine-tuned checkpoint.

  python eval_retrieval.py --workdir=runs/quickstart --split=test
  python eval_retrieval.py --workdir=runs/coco --protocol=folds

Scores every text with every image, in both directions, and writes one JSON.
The same command goes on where it was stopped.
"""

import json
import sys

from absl import flags

from interbert_jax.app import command_line
from interbert_jax.app.eval_flags import define_flags, open_run

FLAGS = flags.FLAGS


def _define_flags() -> None:
  define_flags()
  flags.DEFINE_enum(
    "protocol",
    "all",
    ("all", "first", "folds"),
    "all: every pair of the split (Flickr30K 1K, COCO 5K); first: of its first "
    "--part_images images; folds: of equal parts, each ranked by itself, and "
    "their mean (COCO 1K five-fold).",
  )
  flags.DEFINE_integer("part_images", 1000, "Images of a part.")
  flags.DEFINE_string(
    "ranks", None, "JSONL file for every query's ranks and best candidates."
  )
  flags.DEFINE_integer("top", 10, "Candidates of a query in --ranks.")
  flags.DEFINE_integer("resamples", 1000, "Of the 95 % intervals; 0 for none.")


def main(argv) -> None:
  command_line.refuse_positional(argv)
  from tqdm import tqdm

  from interbert_jax.app import build as experiment
  from interbert_jax.evaluation.retrieval import mean_metrics, protocol_parts
  from interbert_jax.parallel import is_main_process, make_parallel
  from interbert_jax.ranking import retrieval_metrics
  from interbert_jax.ranking.score_tiles import ScoreTiles
  from interbert_jax.tasks.retrieval import SCORES

  run = open_run()
  parallel = make_parallel()
  task = run.config["task"]
  loss = task.get("loss", "match")
  evaluator, data = experiment.retrieval_evaluator(
    run.config,
    FLAGS.split,
    model=run.model,
    score=SCORES[loss],
    parallel=parallel,
  )
  run.check_vocabulary(data.vocab_sha256, run.config["input"]["vocab"])
  protocol, parts = protocol_parts(
    FLAGS.protocol, len(data.image_ids), FLAGS.part_images
  )
  counts = evaluator.counts(parts)
  tiles = ScoreTiles(
    run.workdir / "eval" / "unfinished",
    [run.fingerprint, data.fingerprint, run.meta["model"], loss],
    write=is_main_process(),
  )
  params = run.placed_params(parallel)
  by_part, intervals, lines = [], {}, []
  with tqdm(
    total=counts["n_pairs_scored"],
    unit="pairs",
    unit_scale=True,
    disable=not is_main_process(),
  ) as bar:
    for part in parts:
      scores = evaluator.scores(params, part, tiles=tiles, advance=bar.update)
      image_of_text = evaluator.image_of_text_in(part)
      by_part.append(retrieval_metrics.retrieval_metrics(scores, image_of_text))
      if FLAGS.resamples and len(parts) == 1:
        intervals = retrieval_metrics.recall_intervals(
          scores, image_of_text, resamples=FLAGS.resamples
        )
      if FLAGS.ranks:
        lines += named_rows(scores, image_of_text, data, part[0])
  if not is_main_process():
    return
  if tiles.found:
    print(f"{tiles.found} finished parts were there before", file=sys.stderr)
  if FLAGS.ranks:
    write_lines(FLAGS.ranks, lines)
    print(FLAGS.ranks)
  metrics = mean_metrics(by_part)
  path = run.write(
    FLAGS.output,
    task="retrieval" if task["name"] == "retrieval" else "zeroshot_retrieval",
    split=FLAGS.split,
    protocol=protocol,
    score="choice logit"
    if loss == "choice"
    else "matching logit, match - mismatch",
    score_dtype="float32",
    tie_policy=retrieval_metrics.TIE_POLICY,
    n_ties=metrics.pop("n_ties"),
    metrics=metrics,
    intervals_95=intervals or None,
    folds=by_part if len(by_part) > 1 else None,
    n_truncated_texts=data.num_truncated_texts,
    data_fingerprint=data.fingerprint,
    **counts,
  )
  tiles.remove()
  print_recalls(metrics, intervals)
  print(path)


def named_rows(scores, image_of_text, data, first_image: int) -> list[dict]:
  """Rows of queries, with images by their ids and texts by their numbers."""
  from interbert_jax.ranking.retrieval_metrics import query_rows

  first_text = int((data.image_of_text < first_image).sum())

  def texts(numbers):
    return [first_text + n for n in numbers]

  def images(numbers):
    return [data.image_ids[first_image + n] for n in numbers]

  rows = []
  for row in query_rows(scores, image_of_text, top=FLAGS.top):
    from_text = row["direction"] == "image_retrieval"
    asking, found = (texts, images) if from_text else (images, texts)
    (row["query"],) = asking([row["query"]])
    if from_text:
      row["text"] = data.texts[row["query"]]
    row["top"], row["relevant"] = found(row["top"]), found(row["relevant"])
    rows.append(row)
  return rows


def write_lines(path: str, rows: list[dict]) -> None:
  import pathlib

  text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
  pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
  pathlib.Path(path).write_text(text, "utf-8")


def print_recalls(metrics, intervals) -> None:
  for name, title in (
    ("image_retrieval", "text -> image"),
    ("text_retrieval", "image -> text"),
  ):
    recalls = "  ".join(
      f"R@{k} {100 * metrics[f'{name}_recall@{k}']:.1f}" for k in (1, 5, 10)
    )
    median = f"{metrics[f'{name}_median_rank']:.0f}"
    print(f"{title}  {recalls}  median {median}")
  if intervals:
    low, high = intervals["image_retrieval_recall@1"]
    print(f"R@1 of text -> image: {100 * low:.1f} to {100 * high:.1f} (95 %)")


if __name__ == "__main__":
  _define_flags()
  command_line.run(main)
