"""Hard negatives: captions and images that are hard to tell apart, mined once.

A table has a few candidates for each caption or image of a split; training
takes some of its mismatched pairs from it, and refuses a table that was mined
for other captions or images.

Read table.py (the files), then similar_captions.py and near_images.py (how
candidates are mined); page.py shows samples.
"""
