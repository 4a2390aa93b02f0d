"""From a position in the run to the rows of a batch, read ahead and in order.

A batch is a function of the seed, the step and the global batch size: not of
the number of hosts, nor of how often the run was resumed.

Read order.py (which example stands where), reader.py (batches of examples),
then engine.py (reading ahead).
"""
