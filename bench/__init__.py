"""Programs that measure; what they write, docs quote.

Each is started by its path (`python bench/NAME.py --help`) and says at its top
what it measures and how long that takes. measuring.py has what they share,
core_jobs.py small trainings side by side. Nothing imports this package.
"""
