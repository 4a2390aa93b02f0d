"""Evaluators: `run(params)` gives numbers by name.

Training and the evaluation scripts use the same evaluators, so that there is
one implementation of each metric. No example is dropped or counted twice.

Read evaluators.py (held-out losses) and predictions.py (outputs joined by
example id), then the file of a task. A task has the same file name in
`interbert_jax/tasks`.
"""
