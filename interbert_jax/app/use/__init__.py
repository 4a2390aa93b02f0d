"""A trained model in use.

Read model.py, then images.py and texts.py (what it is asked about).
"""
