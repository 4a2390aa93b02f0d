"""The batches of one split of a task: a file for each task.

Batches hold what was measured: token ids, features, boxes, lengths. Masks and
labels are made on the device, in `interbert_jax/tasks`, where a task has the
same file name.

Read pretrain.py first, then retrieval.py; mixture.py joins several corpora in
one run.
"""
