"""Scores of many texts with many items, and metrics of ranked lists.

Every pair is scored exactly. Scores lie on disk in tiles, so that memory is
bounded and a stopped run goes on.

Read matrix_scorer.py (every text with every image) and score_tiles.py, then
retrieval_metrics.py (ranks, recalls and ties) and list_metrics.py (NDCG, MAP).
"""
