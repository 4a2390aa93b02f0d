"""What the eval scripts can be told; each field is a flag (eval_flags.py)."""

import dataclasses

from interbert_jax.contract.settings import Settings, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportSettings(Settings):
  """What every evaluation of a run is asked for."""

  split: str = setting("test", "Split of the run's annotations.")
  output: str | None = setting(
    None, "JSON file; WORKDIR/eval/TASK_SPLIT_STEP.json by default."
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainReport(ReportSettings):
  """eval_pretrain.py."""

  region_accuracy: bool = setting(
    False, "Accuracy of masked regions, with and without their text."
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RetrievalReport(ReportSettings):
  """eval_retrieval.py."""

  protocol: str = setting(
    "all",
    "all: every pair of the split (Flickr30K 1K, COCO 5K); first: of its first "
    "--part_images images; folds: of equal parts, each ranked by itself, and "
    "their mean (COCO 1K five-fold).",
    choices=("all", "first", "folds"),
  )
  part_images: int = setting(1000, "Images of a part of the split.", low=1)
  ranks: str | None = setting(
    None, "JSONL file for every query's ranks and best candidates."
  )
  top: int = setting(10, "Candidates of a query in --ranks.", low=0)
  shortlist: int = setting(
    0,
    "Score only so many images for each text, the nearest by vectors, and as "
    "large a share of the texts for each image; under names of its own.",
    low=0,
  )
  exact: bool = setting(True, "With --shortlist, score all pairs beside it.")
  resamples: int = setting(
    1000, "Samples of the 95 % intervals; 0 for none.", low=0
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskReport(ReportSettings):
  """eval_task.py."""

  split: str | None = setting(
    None,
    "Split of the run's annotations; by default the one that training "
    "evaluated on.",
  )
  predictions: str | None = setting(
    None,
    "File to write for the server: JSON of VQA, CSV of VCR (21 columns), CSV "
    "of statements (id,label). Of sentences the folder of its files.",
  )
  scores: str | None = setting(
    None, "JSON lines to write, of VCR: the scores of every question."
  )
  all: bool = setting(
    False, "Every run on sentences in the folder --workdir, and their average."
  )
