"""Items to rank for topics: lists of items, topics, and which items are right.

Users write these files, as JSON lines or TSV; errors name the line.

Read item_list.py and topics.py (the files), catalogue.py (items with their
regions and titles), relevance_log.py (which are right for a topic), then
title_match.py (how alike a topic and a title are).
"""
