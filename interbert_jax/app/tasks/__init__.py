"""How data, losses and evaluators of each task are made of the settings.

A task has the same file name in `input_pipeline/tasks` and
`interbert_jax/tasks`; its module here is found by that name.

Read find.py (the functions that a module has), then pretrain.py.
"""
