"""What a run writes beside its parameters, and the signals that it gets.

The workdir and its lock, metrics, the log of examples, the environment;
SIGTERM, the watchdog, and steps whose loss is not finite. It knows no model.

Read workdir.py and progress.py first. Each of the other files stands alone.
"""
