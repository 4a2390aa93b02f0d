"""Commands that rank: topics, KDD Cup 2020, Chinese-CLIP's files.

Each opens a trained run and a catalogue, scores them by `interbert_jax.ranking`
and writes a ranking or a result.

Read recommendation.py (topics over a catalogue), scoring.py (scores of all
items, in tiles), then kdd.py and chinese_clip.py; settings.py has the flags.
"""
