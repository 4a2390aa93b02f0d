"""Finds what is wrong with a store and its captions, before training does.

One pass over the data names everything: a finding has a case (D1 to D17 of
docs/data.md), places, what was found and wanted, and a hint. Training runs the
same on a sample.

Read report.py (a finding), run.py (all checks), then any of the others, such as
record_values.py; gallery.py draws regions for people to look at.
"""
