"""Programs that make data; only bench imports them.

sample_data/   the pictures, captions and questions of the quick start
extract/       a folder of images into a region store
packages.py    pinned files out of public packages, kept in a cache
weights.py     the trained networks among them
"""

import interbert_jax.contract  # noqa: F401  (says what is not installed)
