"""Programs that measure; what they write, docs quote.

Each is a command, such as `python -m bench.downstream --help`, and says at its
top what it measures. measuring.py has what they share, random_data.py data to
measure on, core_jobs.py small trainings side by side, reliability.py what a run
survives. Nothing imports this package.
"""
