"""Hard negatives, found once: captions and images that are hard to tell apart.

A table has a few candidates for each caption or image of a split; training
takes some of its mismatched pairs from there. A table of other items is
refused.

Read table.py (the files), then similar_captions.py and near_images.py (how they
are found); page.py shows samples.
"""
