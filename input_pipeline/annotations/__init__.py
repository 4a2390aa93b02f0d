"""Captions and questions, from the files in which they are published.

A format more is one file here and one line in `READERS`.
"""

from input_pipeline.annotations.captions import (
  READERS,
  Captions,
  list_splits,
  load_captions,
)

__all__ = ["READERS", "Captions", "list_splits", "load_captions"]
