"""From features and texts that others published to batches of arrays.

Nothing here imports JAX, and of `interbert_jax` only its contract, which says
what a batch is. Commands are the files beside this one: convert.py, check.py,
stage.py, export.py and mine_negatives.py.

Read tasks/pretrain.py (a split as batches), batches/reader.py, then
store/region_store.py; README.md has all packages.
"""

import interbert_jax.contract  # noqa: F401  (says what is not installed)
