"""The data of a task by name; a config section is its builder's arguments."""

from typing import Any

from input_pipeline.candidates import CandidateData
from input_pipeline.errors import DataError
from input_pipeline.mixture import mixture_data
from input_pipeline.pretrain import PretrainData
from input_pipeline.retrieval import retrieval_set
from input_pipeline.sentences.data import SentenceData
from input_pipeline.statements import StatementData
from input_pipeline.vcr import VcrData
from input_pipeline.vqa import VqaData

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
