"""A configuration becomes objects here: data, model, task, evaluators.

The only package where data meets model. Scripts at the top of the tree define
flags and make one call into it. ranking/ ranks catalogues; command_line.py,
eval_flags.py, overrides.py and hosts.py are what every command shares.

Read train.py (what main.py does), build.py, tasks/pretrain.py, then
trained_run.py and evaluate.py (what eval_task.py does).
"""
