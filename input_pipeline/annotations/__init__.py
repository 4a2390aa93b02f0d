"""Reads captions, questions and sentences from the files of their publishers.

A reader yields the content of a file and the place of each line; an error in a
file ends in a DataError that names the place.

Read reader.py (what a reader is), json_captions.py (the commonest formats),
then load.py (reads and checks one split, and finds its images in a store). A
new format of captions is a Reader in json_captions.py, line_captions.py or a
file of its own, and a line in readers.py.
"""
