"""A folder of images into a region store, on CPUs and without the network.

Read settings.py, run.py (what a command does), reader.py (images as a source of
the conversion), regions.py (boxes, crops, features of some images), models.py
(which networks) and networks/ (how they compute).
"""
