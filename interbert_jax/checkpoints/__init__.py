"""The state of a run on disk: whole, or refused.

The only package that uses Orbax. Every file of a checkpoint has a checksum in
its manifest, and is compared with it before anything is restored.

Read checkpoints.py (saving and restoring a run), params.py (the parameters of
one checkpoint alone), then manifest.py.
"""
