"""A model that answers over HTTP.

Read server.py (routes), then service.py (answers), batcher.py and limits.py.
"""
