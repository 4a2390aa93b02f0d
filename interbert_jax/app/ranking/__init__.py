"""Texts ranked against the items of a catalogue, with a trained run.

scoring.py scores, recommendation.py ranks items for topics (recommend.py),
ranking_file.py and ranking_report.py keep and judge such a ranking
(eval_recommendation.py). kdd.py and chinese_clip.py are the protocols of two
public tests, with commands of their own beside them.
"""
