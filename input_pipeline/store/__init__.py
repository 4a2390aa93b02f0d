"""The region store: one record per image, written once, read at random.

TFDS opens a store as it is; reading needs array_record alone, and a staged copy
NumPy alone. Stores may come from anybody: what is wrong is named, and sizes are
checked before memory is taken.

Read schema.py (the record), region_store.py (reading), then staged_store.py
(a copy at the speed of memory) and store_writer.py (whole, or not at all).
"""
