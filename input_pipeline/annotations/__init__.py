"""Captions and questions, read from the files they are published in.

A format more is one file here and one line in `readers.py`.
"""

from input_pipeline.annotations.captions import Captions
from input_pipeline.annotations.load import list_splits, load_captions
from input_pipeline.annotations.readers import READERS

__all__ = ["READERS", "Captions", "list_splits", "load_captions"]
