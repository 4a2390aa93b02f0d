"""A dtype by its code, of numbers and text only.

numpy.dtype reads much more than codes: commas, counts and fields go through
Python's parser, which raises what it likes.
"""

import re

import numpy as np

# b1 is bool; S3 and U3 are text of three characters.
_CODE = re.compile(r"[<>|=]?(?:[fiu](?:1|2|4|8|16)|b1|\?|[SU]\d{1,9})")


def plain_dtype(code: object) -> np.dtype:
  """The dtype of a code such as "<f4".

  Raises:
    ValueError: it is no such code.
  """
  if not isinstance(code, str) or not _CODE.fullmatch(code):
    raise ValueError(f"dtype {code!r:.40}")
  try:
    return np.dtype(code)
  except TypeError as e:  # i16, f1
    raise ValueError(f"dtype {code!r}: {e}") from None
