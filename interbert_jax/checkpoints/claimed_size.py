"""Refuses arrays that claim to be far larger than the files they are in.

Chunks that a checkpoint leaves out read as zeros, so a few bytes can declare
more than any memory holds.
"""

import math
from typing import Any

import jax
import numpy as np

from interbert_jax.contract.errors import CheckpointError

# Zeros shrink a thousandfold, weights hardly at all.
MAX_RATIO = 100
ALLOWANCE = 64 << 20


def check_claimed_size(folder, tree: Any) -> None:
  """Compares shapes and dtypes with the bytes of the folder's files.

  Args:
    folder: an epath path.
    tree: of what has a shape and a dtype.

  Raises:
    CheckpointError: naming the folder.
  """
  claimed = sum(
    math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize
    for leaf in jax.tree.leaves(tree)
  )
  if claimed <= ALLOWANCE:
    return
  size = sum(
    (parent / name).stat().length
    for parent, _, names in folder.walk()
    for name in names
  )
  if claimed > MAX_RATIO * size + ALLOWANCE:
    raise CheckpointError(
      f"{folder}: its arrays claim {claimed} bytes, the files have {size}: "
      "this is no checkpoint of weights"
    )
