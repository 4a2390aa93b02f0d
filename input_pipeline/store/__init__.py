"""The region store: one record per image, written once, read in any order.

TFDS can open a store; reading needs only array_record, and a staged copy only
NumPy. A store may come from a stranger: a fault ends in a message that names
it, and sizes are checked before memory is taken.

Read schema.py (the record), region_store.py (reading), then staged_store.py
(a copy at the speed of memory) and store_writer.py (whole, or not at all).
"""
