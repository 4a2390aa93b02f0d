"""From a configuration, or words of a command line, to checked settings.

A setting's type, default and range stand at its field, in the package that uses
it; here all of them are read, and all mistakes are named at once.

Read validate.py (a configuration becomes settings), then overrides.py (values
that are typed on a command line).
"""
