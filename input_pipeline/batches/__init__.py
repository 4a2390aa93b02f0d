"""Turns positions in the run into batches, which are read ahead.

A batch depends on the seed, the step and the global batch size, but not on the
number of hosts, nor on how often the run was resumed.

Read order.py (which example stands where), reader.py (batches of examples),
then engine.py (reading ahead).
"""
