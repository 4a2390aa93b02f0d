"""Metrics of a ranking of topics, from labels or a log of clicks.

  python eval_recommendation.py --ranking=ranking.jsonl \
      --relevance=relevance.tsv

Needs no model. Random and popular orders are scored beside; intervals are of a
bootstrap over topics. docs/recommendation.md defines every metric.
"""

from absl import flags

from interbert_jax.app import command_line

FLAGS = flags.FLAGS


def main(argv) -> None:
  command_line.refuse_positional(argv)
  import pathlib
  import time

  from input_pipeline.catalogues.catalogue import Catalogue
  from input_pipeline.catalogues.item_list import read_items
  from input_pipeline.catalogues.relevance_log import read_relevance
  from interbert_jax.app.ranking import ranking_file, ranking_report
  from interbert_jax.contract.errors import ConfigError
  from interbert_jax.evaluation.results import write_result
  from interbert_jax.ranking.metrics import TIE_POLICY

  began = time.monotonic()
  path = pathlib.Path(FLAGS.ranking)
  topics = ranking_file.read_ranking(path)
  about = ranking_file.read_about(path)
  try:
    cuts = sorted({int(k) for k in FLAGS.cuts})
  except ValueError:
    raise ConfigError(f"--cuts={','.join(FLAGS.cuts)}: not numbers") from None
  items, store = FLAGS.items, FLAGS.store
  if not (items or store):
    items, store = about.get("items", ""), about.get("store", "")
  else:
    store = store or about.get("store", "")
  if not (items or store):
    raise ConfigError(
      f"{path}: nothing beside it says what was ranked; wanted --items=FILE or "
      "--store=DIR"
    )
  catalogue = None
  if store and FLAGS.diversity:
    catalogue = Catalogue(
      store, max_regions=about.get("max_regions", 36), items=items
    )
    item_ids = catalogue.item_ids
  elif items:
    item_ids = tuple(item.item_id for item in read_items(items))
  else:
    item_ids = Catalogue(store, max_regions=1).item_ids
  judged = ranking_report.judge(
    topics,
    read_relevance(
      FLAGS.relevance, kind=FLAGS.log, min_clicks=FLAGS.min_clicks
    ),
    item_ids,
    ranking=path,
    log=FLAGS.relevance,
  )
  vectors = None
  if catalogue is not None:
    listed = sorted({i for t in topics for i in t.item_ids[: max(cuts)]})
    vectors = dict(zip(listed, catalogue.mean_features(listed), strict=True))
  history = None
  if FLAGS.popularity:
    history = read_relevance(FLAGS.popularity, kind="clicks")
  found = ranking_report.report(
    judged,
    cuts=cuts,
    history=history,
    vectors=vectors,
    samples=FLAGS.bootstrap,
    seed=FLAGS.seed,
  )
  output = write_result(
    FLAGS.output or path.with_suffix(".metrics.json"),
    task="recommendation",
    split=FLAGS.split,
    dataset=pathlib.Path(FLAGS.relevance).stem,
    step=about.get("step"),
    pretrained=about.get("pretrained"),
    model="interbert",
    language=about.get("language"),
    checkpoint_fingerprint=about.get("checkpoint_fingerprint"),
    protocol="topics, all items of the catalogue",
    tie_policy=TIE_POLICY,
    relevance_kind=FLAGS.log,
    popularity=FLAGS.popularity or "relevance of the other topics",
    bootstrap_samples=FLAGS.bootstrap,
    seconds=round(time.monotonic() - began, 2),
    ranking=about,
    **found,
  )
  print(_table(found, cuts))
  print(output)


def _table(found, cuts) -> str:
  """The ranking beside the two orders without a model, in percent."""
  rows = [("", "ranking", "95 % interval", "random", "popular")]
  for name in ("ndcg", "recall", "hit", "map", "mrr"):
    for k in cuts:
      key = f"{name}@{k}"
      low, high = found["intervals_95"].get(key, (None, None))
      rows.append(
        (
          key,
          f"{100 * found['metrics'][key]:.1f}",
          "" if low is None else f"{100 * low:.1f} to {100 * high:.1f}",
          f"{100 * found['baselines']['random'][key]:.1f}",
          f"{100 * found['baselines']['popularity'][key]:.1f}",
        )
      )
  lines = [
    f"{found['n_queries']} topics of {found['relevant_per_query']:.1f} "
    f"relevant items, {found['n_items']:,} items; {found['n_skipped']} topics "
    "without any are left out"
  ]
  lines += [
    f"{row[0]:<10}" + "".join(f"{cell:>15}" for cell in row[1:]) for row in rows
  ]
  return "\n".join(lines)


def define_flags() -> None:
  flags.DEFINE_string("ranking", None, "Of recommend.py; .jsonl or .csv.")
  flags.DEFINE_string(
    "relevance",
    None,
    "Lines of topic_id, item_id and perhaps relevance: tabs or JSON.",
  )
  flags.DEFINE_enum(
    "log",
    "labels",
    ("labels", "clicks"),
    "labels: a line per topic and item; clicks: lines are added up.",
  )
  flags.DEFINE_float("min_clicks", 1, "Clicks that make an item relevant.")
  flags.DEFINE_list("cuts", ["5", "10", "20"], "K of the metrics at K.")
  flags.DEFINE_string(
    "popularity",
    "",
    "Log to count popular items in; by default the relevance of the other "
    "topics.",
  )
  flags.DEFINE_string("items", "", "The catalogue that was ranked.")
  flags.DEFINE_string("store", "", "The region store, for diversity.")
  flags.DEFINE_bool("diversity", True, "Read listed items' regions for it.")
  flags.DEFINE_integer("bootstrap", 1000, "Samples; 0 for no intervals.")
  flags.DEFINE_integer("seed", 0, "Of the bootstrap.")
  flags.DEFINE_string("split", "test", "What the result calls the items.")
  flags.DEFINE_string(
    "output", "", "JSON file; RANKING.metrics.json by default."
  )
  flags.mark_flags_as_required(("ranking", "relevance"))


if __name__ == "__main__":
  define_flags()
  command_line.run(main)
