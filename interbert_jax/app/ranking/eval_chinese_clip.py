"""Retrieval on the files of Chinese-CLIP: MUGE, Flickr30K-CN, COCO-CN.

  python -m interbert_jax.app.ranking.eval_chinese_clip --workdir=runs/zh \
      --texts=valid_texts.jsonl --pool=valid_imgs.tsv --predictions=predictions

Every text is scored with every image of the pool; the same command goes on
after a kill. A text may have several right images, and is a hit where any of
them is among the first k.
"""

from absl import flags

from interbert_jax.app import command_line
from interbert_jax.app.eval_flags import define_flags, open_run

FLAGS = flags.FLAGS


def main(argv) -> None:
  command_line.refuse_positional(argv)
  import pathlib

  import jax

  from input_pipeline.annotations.chinese_clip import read_query_texts
  from input_pipeline.catalogues.catalogue import Catalogue
  from interbert_jax.app.ranking import scoring
  from interbert_jax.app.ranking.pool_retrieval import PoolRetrieval
  from interbert_jax.contract.errors import ConfigError
  from interbert_jax.parallel import make_parallel
  from interbert_jax.ranking.retrieval_metrics import RECALLS, TIE_POLICY

  if jax.process_count() > 1:
    raise ConfigError("this script runs by itself on each host: --share=I/N")
  share = scoring.parse_share(FLAGS.share)
  run = open_run()
  section = run.config["input"]
  texts = pathlib.Path(FLAGS.texts)
  scores = FLAGS.scores or (
    run.workdir / "eval" / f"scores_{texts.stem}_{run.step}"
  )
  pool = PoolRetrieval(
    run,
    read_query_texts(texts),
    Catalogue(
      section["store"], max_regions=section["max_regions"], items=FLAGS.pool
    ),
    directory=scores,
    parallel=make_parallel(),
    tile_items=FLAGS.tile_items,
    restart=FLAGS.restart,
    wanted_by=texts,
  )
  pool.score(share)
  if left := len(pool.tiles.missing()):
    print(f"{left} of {len(pool.tiles)} tiles are for other shares")
    return
  if FLAGS.predictions:
    for path in pool.write_predictions(pathlib.Path(FLAGS.predictions)):
      print(path)
  if not pool.has_answers:
    print(f"{texts} names no images: there is nothing to score")
    return
  section["annotations"] = str(texts)  # what the result names
  found = pool.metrics()
  metrics = found["metrics"]
  path = run.write(
    FLAGS.output,
    task="chinese_retrieval",
    split=FLAGS.split,
    protocol="full pool, hit if any right one is among the first k",
    score=scoring.score_name(run.config),
    score_dtype="float32",
    tie_policy=TIE_POLICY,
    **found,
  )
  for name, title in (
    ("image_retrieval", "text -> image"),
    ("text_retrieval", "image -> text"),
  ):
    recalls = "  ".join(
      f"R@{k} {100 * metrics[f'{name}_recall@{k}']:.1f}" for k in RECALLS
    )
    mean = 100 * metrics[f"{name}_mean_recall"]
    print(f"{title}  {recalls}  mean recall {mean:.1f}")
  print(path)


if __name__ == "__main__":
  define_flags()
  flags.DEFINE_string("texts", None, "SPLIT_texts.jsonl.")
  flags.DEFINE_string(
    "pool",
    "",
    "Images to choose from: SPLIT_imgs.tsv, or any lines that begin with an "
    "id; by default all images of the run's store.",
  )
  flags.DEFINE_string(
    "predictions",
    "",
    "Directory for predictions and output.json of Chinese-CLIP's scorer.",
  )
  flags.DEFINE_string(
    "scores", "", "Directory of scores; in WORKDIR/eval by default."
  )
  flags.DEFINE_integer("tile_items", 256, "Images scored and saved together.")
  flags.DEFINE_string(
    "share", "0/1", "I/N scores the I-th of N shares: a process each."
  )
  flags.DEFINE_bool("restart", False, "Throw away what was scored before.")
  flags.mark_flag_as_required("texts")
  command_line.run(main)
