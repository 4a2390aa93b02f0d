"""Turns texts into token ids: WordPiece, words, and rows with special tokens.

Nothing here knows of annotations or images. All texts of a corpus are one array
of ids with offsets, so that they fit in memory.

Read tokenizer.py, then pack.py (texts in a row of slots) and words.py (where
words begin, for whole-word masking).
"""
