"""Readers of region features: files that others wrote, as `ImageRegions`.

A reader only says what a source holds. Order, checks and writing are the same
for all of them and belong to `conversion`. Files come from strangers: nothing
that they name is run, and sizes are compared before memory is taken.

Read base.py (what a format is), registry.py (all of them, and which of them a
file is), fields.py (from named fields to an image), then any format. A new
format is one file, or an entry in that of its project, listed in registry.py.
"""
