"""Ranks the items of a catalogue for topics, with a trained checkpoint.

  python recommend.py --workdir=runs/quickstart_openmoji \
      --topics=topics.jsonl --items=items.jsonl --output=ranking.jsonl

Every topic is scored with every item; the same command goes on after a kill.
docs/recommendation.md says what a score is made of.
"""

from absl import flags

from interbert_jax.app import command_line
from interbert_jax.app.eval_flags import define_run_flags, open_run

FLAGS = flags.FLAGS


def main(argv) -> None:
  command_line.refuse_positional(argv)
  import pathlib

  import jax

  from input_pipeline.catalogues.catalogue import Catalogue
  from interbert_jax.app.ranking import recommendation, scoring
  from interbert_jax.app.ranking.ranking_file import check_output, write_ranking
  from interbert_jax.contract.errors import ConfigError
  from interbert_jax.parallel import make_parallel
  from interbert_jax.ranking.metrics import TIE_POLICY

  if jax.process_count() > 1:
    raise ConfigError("recommend.py runs by itself on each host: --share=I/N")
  output = pathlib.Path(FLAGS.output)
  check_output(output)
  share = scoring.parse_share(FLAGS.share)
  if FLAGS.restart and share[1] > 1:
    raise ConfigError(
      "--restart would throw away what the other shares have scored; remove "
      "the directory of scores by hand"
    )
  run = open_run()
  section = run.config["input"]
  recommender = recommendation.Recommender(
    run,
    topics=FLAGS.topics,
    catalogue=Catalogue(
      section["store"],
      max_regions=section["max_regions"],
      items=FLAGS.items,
    ),
    directory=FLAGS.scores or output.with_suffix(".scores"),
    parallel=make_parallel(),
    tile_items=FLAGS.tile_items,
    restart=FLAGS.restart,
  )
  # Wrong settings are known before anything is scored.
  weights = recommender.weights(
    example_weight=FLAGS.example_weight, title_weight=FLAGS.title_weight
  )
  if FLAGS.top_k < 1:
    raise ConfigError(f"--top_k={FLAGS.top_k}: wanted at least 1")
  recommender.score(share)
  left = len(recommender.tiles.missing())
  if left:
    print(f"{left} of {len(recommender.tiles)} tiles are for other shares")
    return
  ranked = recommender.rank(
    weights, top_k=FLAGS.top_k, exclude_examples=FLAGS.exclude_examples
  )
  write_ranking(
    output,
    ranked,
    recommendation.about(
      run,
      recommender,
      topics=FLAGS.topics,
      items=FLAGS.items,
      tie_policy=TIE_POLICY,
      top_k=FLAGS.top_k,
      example_weight=FLAGS.example_weight,
      title_weight=FLAGS.title_weight,
      exclude_examples=FLAGS.exclude_examples,
    ),
  )
  for topic in ranked[:3]:
    print(f"{topic.text}: {', '.join(topic.item_ids[:5])}")
  print(output)


def define_flags() -> None:
  define_run_flags()
  flags.DEFINE_string(
    "topics", None, 'Lines of {"topic_id", "text", "examples": [item ids]}.'
  )
  flags.DEFINE_string(
    "items",
    "",
    'The catalogue: lines of {"item_id", "title"} or of ids; by default all '
    "images of the run's store.",
  )
  flags.DEFINE_string("output", None, "Ranking to write: .jsonl or .csv.")
  flags.DEFINE_integer("top_k", 20, "Items per topic.")
  flags.DEFINE_float(
    "example_weight", 0.5, "Share of the examples in a topic's score, 0 to 1."
  )
  flags.DEFINE_float(
    "title_weight", 0.0, "Share of the titles, 0 to 1; 0 ignores them."
  )
  flags.DEFINE_bool(
    "exclude_examples", True, "A topic's examples are not recommended."
  )
  flags.DEFINE_string(
    "scores", "", "Directory of scores; OUTPUT.scores by default."
  )
  flags.DEFINE_integer("tile_items", 256, "Items scored and saved together.")
  flags.DEFINE_string(
    "share", "0/1", "I/N scores the I-th of N shares: a process each."
  )
  flags.DEFINE_bool("restart", False, "Throw away what was scored before.")
  flags.mark_flags_as_required(("topics", "output"))


if __name__ == "__main__":
  define_flags()
  command_line.run(main)
