"""Converts features of any format into a region store.

A source is cut into parts, which processes convert side by side; an interrupted
conversion goes on where it stopped. The store appears by one rename. It is the
same to the last byte however many processes made it.

Read run.py (the whole), part.py (what a worker does), to_record.py (boxes,
order and classes of one image); settings.py has what a user may choose.
"""
