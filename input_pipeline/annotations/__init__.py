"""Captions, questions and sentences, from the files they are published in.

A reader yields what a file says, with the place of each line for messages; a
file that is not what it should be ends in one DataError that names the place.

Read reader.py (what a reader is), json_captions.py (the commonest ones), then
load.py (one split, checked, under the ids of a store). readers.py lists all
formats of captions: a new one is a Reader in json_captions.py, line_captions.py
or a file of its own, and a line there.
"""
