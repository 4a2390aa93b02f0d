"""Items to be ranked for topics: lists of items, topics, and who liked what.

Files are a user's own, in JSON lines or TSV; a mistake is named with its line.

Read item_list.py and topics.py (the files), catalogue.py (items with their
regions and titles), relevance_log.py (which are right for a topic), then
title_match.py (how alike a topic and a title are).
"""
