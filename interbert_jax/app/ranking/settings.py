"""What the commands that rank can be told; each field is a flag."""

import dataclasses
import pathlib
from collections.abc import Iterator

from interbert_jax.app.eval_settings import ReportSettings
from interbert_jax.contract.pipeline import ABOUT
from interbert_jax.contract.settings import Settings, setting

RANKING_FORMATS = (".jsonl", ".csv")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TileSettings(Settings):
  """Scores on disk, a tile of items at a time."""

  scores: str = setting(
    "", "Directory of scores; beside the output by default."
  )
  tile_items: int = setting(256, "Items scored and saved together.", low=1)
  share: str = setting(
    "0/1", "I/N scores the I-th of N shares: a process each."
  )
  beam: str | None = setting(None, ABOUT)
  restart: bool = setting(False, "Throw away what was scored before.")

  def check(self) -> Iterator[str]:
    index, slash, count = self.share.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal()) or int(
      index
    ) >= int(count):
      yield f"share is {self.share!r}; wanted I/N with I below N: 0/4"
    elif self.restart and int(count) > 1:
      yield (
        "restart would throw away what the other shares have scored; remove "
        "the directory of scores by hand"
      )

  def tiles_of(self, total: int) -> range:
    """The tiles of this share."""
    index, count = self.share.split("/")
    return range(int(index), total, int(count))


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecommendSettings(TileSettings):
  """recommend.py."""

  topics: str = setting(
    dataclasses.MISSING,
    'Lines of {"topic_id", "text", "examples": [item ids]}.',
  )
  items: str = setting(
    "",
    'The catalogue: lines of {"item_id", "title"} or of ids; by default all '
    "images of the run's store.",
  )
  output: str = setting(
    dataclasses.MISSING, "Ranking to write: .jsonl or .csv."
  )
  top_k: int = setting(20, "Items for each topic.", low=1)
  example_weight: float = setting(
    0.5, "Share of the examples in a topic's score, 0 to 1."
  )
  title_weight: float = setting(
    0.0, "Share of the titles, 0 to 1; 0 ignores them."
  )
  exclude_examples: bool = setting(
    True, "Whether a topic's examples are left out of its list."
  )

  def check(self) -> Iterator[str]:
    yield from super().check()
    if pathlib.Path(self.output).suffix not in RANKING_FORMATS:
      yield (
        f"output is {self.output!r}; wanted a name that ends in "
        f"{' or '.join(RANKING_FORMATS)}"
      )


@dataclasses.dataclass(frozen=True, kw_only=True)
class JudgeSettings(Settings):
  """eval_recommendation.py."""

  ranking: str = setting(
    dataclasses.MISSING, "Ranking of recommend.py; .jsonl or .csv."
  )
  relevance: str = setting(
    dataclasses.MISSING,
    "Lines of topic_id, item_id and perhaps relevance: tabs or JSON.",
  )
  log: str = setting(
    "labels",
    "labels: a line per topic and item; clicks: lines are added up.",
    choices=("labels", "clicks"),
  )
  min_clicks: float = setting(1.0, "Clicks that make an item relevant.")
  cuts: tuple[int, ...] = setting((5, 10, 20), "K of the metrics at K.", low=1)
  popularity: str = setting(
    "",
    "Log to count popular items in; by default the relevance of the other "
    "topics.",
  )
  items: str = setting("", "The catalogue that was ranked.")
  store: str = setting("", "The region store, for diversity.")
  diversity: bool = setting(True, "Read listed items' regions for diversity.")
  bootstrap: int = setting(
    1000, "Samples of the intervals; 0 for no intervals.", low=0
  )
  seed: int = setting(0, "Seed of the bootstrap.", low=0)
  split: str = setting("test", "What the result calls the items.")
  output: str = setting("", "JSON file; RANKING.metrics.json by default.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class KddSettings(ReportSettings):
  """eval_kdd.py."""

  queries: str = setting(
    dataclasses.MISSING,
    "TSV with product_id, query and query_id, and a header.",
  )
  answers: str = setting("", "valid_answer.json, where there is one.")
  submission: str = setting("", "CSV to hand in.")
  tile_items: int = setting(512, "Products on the device at once.", low=1)

  def check(self) -> Iterator[str]:
    if not (self.answers or self.submission):
      yield "answers and --submission are missing; wanted one of them or both"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoolSettings(TileSettings, ReportSettings):
  """eval_chinese_clip.py."""

  texts: str = setting(dataclasses.MISSING, "SPLIT_texts.jsonl.")
  pool: str = setting(
    "",
    "Images to choose from: SPLIT_imgs.tsv, or any lines that begin with an "
    "id; by default all images of the run's store.",
  )
  predictions: str = setting(
    "", "Directory for predictions and output.json of Chinese-CLIP's scorer."
  )
