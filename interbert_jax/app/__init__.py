"""A configuration becomes objects here: data, model, task, evaluators.

The only package where data meets model, so the only one that imports both
`input_pipeline` and the rest of `interbert_jax`. Scripts at the top of the
tree define flags and make one call into it.

Training: train.py is what main.py does, build.py what a configuration becomes,
tasks/ what differs between tasks; validate.py and data_checks.py refuse what
cannot work. Evaluation: trained_run.py opens a run, evaluate.py is what
eval_task.py does. ranking/ ranks catalogues. Flags, messages and hosts
of every command: command_line.py, eval_flags.py, overrides.py, hosts.py.

Read train.py, build.py, tasks/pretrain.py.
"""
