"""Scores of many texts with many items, and metrics of ranked lists.

Every pair is scored exactly; tiles of scores lie on disk, so that memory is
bounded and a stopped run goes on.

Read pair_scorer.py (what a score costs), tiles.py (scores on disk), then
retrieval_metrics.py (ranks, recalls and ties) and metrics.py (NDCG and others).
"""
