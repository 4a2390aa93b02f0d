"""Reads region features from the files of other projects.

A reader yields the images of a source as `ImageRegions`; conversion/ does the
rest. Files come from strangers: no code that they name is run, and sizes are
checked before memory is taken.

Read base.py (what a format is), registry.py (all formats, and which one a file
has), fields.py (from named fields to an image), then any format. A new format
is a file, or an entry in the file of its project, and a line in registry.py.
"""
