"""Statements about one image or two, with a label: SNLI-VE, NLVR2."""

import hashlib
from typing import Any

import numpy as np

from input_pipeline.annotations.statements import FORMATS, read_statements
from input_pipeline.tasks.questions import QuestionData
from input_pipeline.tasks.settings import StatementInput
from interbert_jax.contract.batch import STATEMENTS
from interbert_jax.contract.errors import DataError


class StatementData(QuestionData):
  """The statements of a split.

  Args:
    settings: section `input` of the configuration.
    format: format of the files, a key of FORMATS.
    split: the split, as the files call it.
    reading: further keywords of `QuestionData`.
  """

  unit = "statements"

  def __init__(
    self, settings: StatementInput, *, format: str, split: str, **reading: Any
  ):
    folder = settings.annotations
    statements = list(read_statements(folder, split, format=format))
    if not statements:
      raise DataError("found no statements", file=folder, record=split)
    self.label_names = FORMATS[format].labels
    self.ids = tuple(s.statement_id for s in statements)
    self.groups = tuple(s.group for s in statements)
    self.is_labelled = all(s.label is not None for s in statements)
    self.labels = np.array([s.label or 0 for s in statements])
    super().__init__(
      settings,
      split=split,
      texts=[s.text for s in statements],
      images=[s.images for s in statements],
      contract=STATEMENTS,
      targets={"label": self.labels},
      wanted_by=folder,
      **reading,
    )

  @property
  def facts(self) -> dict[str, Any]:
    images, labels = self.images_NI.tolist(), self.labels.tolist()
    parts = self.ids, self._texts, images, labels
    return {
      **super().facts,
      "images_per_example": self.dims["I"],
      "statements_sha256": hashlib.sha256(repr(parts).encode()).hexdigest(),
      "label_names": list(self.label_names),
    }
