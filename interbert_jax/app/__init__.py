"""A configuration becomes objects here: data, model, task, evaluators.

The only package where data meets model, so the only one that imports both
`input_pipeline` and the rest of `interbert_jax`. Scripts at the top of the
tree define flags and make one call into it.

Read train.py (what main.py does) and build.py (what a configuration becomes),
then tasks/pretrain.py.
"""
