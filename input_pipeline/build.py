"""The data of a task by name; a config section is its builder's arguments."""

from typing import Any

from input_pipeline.tasks.mixture import mixture_data
from input_pipeline.tasks.pretrain import PretrainData
from input_pipeline.tasks.retrieval import CandidateData
from input_pipeline.tasks.retrieval_set import retrieval_set
from input_pipeline.tasks.statements import StatementData
from input_pipeline.tasks.text import SentenceData
from input_pipeline.tasks.vcr import VcrData
from input_pipeline.tasks.vqa import VqaData
from interbert_jax.contract.errors import DataError

BUILDERS = {
  "pretrain": PretrainData,
  "mixture": mixture_data,
  "candidates": CandidateData,
  "retrieval": retrieval_set,
  "sentences": SentenceData,
  "vcr": VcrData,
  "vqa": VqaData,
  "statements": StatementData,
}


def build(name: str, **config: Any) -> Any:
  """Builds the data called `name`; unknown keys of config fail."""
  if name not in BUILDERS:
    raise DataError(f"no data {name!r}, known: {', '.join(BUILDERS)}")
  return BUILDERS[name](**config)
