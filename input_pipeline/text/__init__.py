"""Texts become token ids: WordPiece, words, and rows with special tokens.

It knows no annotations and no images. A tokenised text is one array of ids
with offsets, so that a corpus fits in memory.

Read tokenizer.py, then pack.py (texts in a row of slots) and words.py (where
words begin, for whole-word masking).
"""
