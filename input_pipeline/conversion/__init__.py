"""From features in anybody's format to a region store.

A source is cut into parts, which processes convert side by side; an interrupted
conversion goes on where it stopped. The store appears by one rename, and is the
same to the last byte however it was made.

Read run.py (the whole), part.py (what a worker does), to_record.py (boxes,
order and classes of one image); settings.py has what a user may choose.
"""
