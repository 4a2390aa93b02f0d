"""The data of the quick start: small scenes, all that is said of them true.

Read scenes.py (what a scene is), facts.py (what is true of it), captions.py,
question_kinds.py and topics.py (what is said, asked and searched for),
sources.py (who draws and encodes: shapes.py, openmoji.py) and build.py (the
folder, whole or not at all). A seed gives the same bytes everywhere.
"""
