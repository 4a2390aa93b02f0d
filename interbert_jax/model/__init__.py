"""The parameters of InterBERT and its pure forward passes.

The model knows no task, no optimiser and no device. This is the only package
that uses Flax Linen; everything else sees trees of arrays, whose paths are
what checkpoints and exports are made of.

Read config.py (the shape of the model), interbert.py (embeddings, the two
streams, the heads), then layers.py.
"""
