"""KDD Cup 2020, multimodal recall: ranks each query's products.

  python -m interbert_jax.app.ranking.eval_kdd --workdir=runs/kdd \
      --queries=valid.tsv \
      --answers=valid_answer.json --submission=submission.csv

Products are in a region store (input_pipeline.convert reads the TSV). With
answers it writes metrics, with --submission the file to hand in.
"""

from absl import flags

from interbert_jax.app import command_line
from interbert_jax.app.eval_flags import define_flags, open_run

FLAGS = flags.FLAGS


def main(argv) -> None:
  command_line.refuse_positional(argv)
  from input_pipeline.annotations.kdd_queries import read_kdd_queries
  from interbert_jax.app.ranking import kdd_submission, scoring
  from interbert_jax.app.ranking.candidate_lists import (
    rank_candidates,
    ranked_queries,
  )
  from interbert_jax.contract.errors import ConfigError
  from interbert_jax.parallel import is_main_process, make_parallel
  from interbert_jax.ranking.baselines import random_metrics
  from interbert_jax.ranking.metrics import TIE_POLICY, counts, per_query

  if not (FLAGS.answers or FLAGS.submission):
    raise ConfigError("nothing to do: wanted --answers, --submission or both")
  run = open_run()
  queries = read_kdd_queries(FLAGS.queries, FLAGS.answers or None)
  if FLAGS.submission:
    # Before an hour of scoring, not behind it.
    kdd_submission.check_candidates(queries, file=FLAGS.queries)
  run.config["input"]["annotations"] = FLAGS.queries  # what the result names
  ranking = rank_candidates(
    run,
    [(query.query, query.candidates) for query in queries],
    make_parallel(),
    tile_items=FLAGS.tile_items,
    wanted_by=FLAGS.queries,
  )
  if not is_main_process():
    return
  lists = {
    query.query_id: items
    for query, items in zip(queries, ranking.lists, strict=True)
  }
  if FLAGS.submission:
    path = kdd_submission.write_submission(FLAGS.submission, lists, queries)
    # What counts is what stands in the file.
    lists = lists | kdd_submission.read_submission(path, queries)
    print(path)
  if not FLAGS.answers:
    return
  ranked = ranked_queries(
    ranking.lists, [{item: 1.0 for item in q.answers} for q in queries]
  )
  official = kdd_submission.official_ndcg(lists, queries)
  cuts = (1, 5, 10)
  path = run.write(
    FLAGS.output,
    task="kdd_recall",
    split=FLAGS.split,
    protocol="candidates of each query",
    score=scoring.score_name(run.config),
    score_dtype="float32",
    tie_policy=TIE_POLICY,
    metrics={
      "official_ndcg@5": official,
      **{name: float(x.mean()) for name, x in per_query(ranked, cuts).items()},
    },
    baselines={"random": random_metrics(ranked, cuts)},
    n_pairs_scored=ranking.n_pairs,
    n_truncated_texts=ranking.num_truncated,
    data_fingerprint=ranking.fingerprint,
    **counts(ranked),
  )
  print(f"NDCG@5 {100 * official:.2f} over {len(queries)} queries")
  print(path)


if __name__ == "__main__":
  define_flags()
  flags.DEFINE_string(
    "queries", None, "TSV with product_id, query and query_id, and a header."
  )
  flags.DEFINE_string("answers", "", "valid_answer.json, where there is one.")
  flags.DEFINE_string("submission", "", "CSV to hand in.")
  flags.DEFINE_integer("tile_items", 512, "Products on the device at once.")
  flags.mark_flag_as_required("queries")
  command_line.run(main)
