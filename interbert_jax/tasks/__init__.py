"""How a batch becomes losses: one file for each task.

Each loss and each metric is a pair (sum, weight), added up over the global
batch and divided once. Tasks know the model and no device.

Read base.py (what a task is), masking.py (what the model has to guess), then
pretrain.py. A task has the same file name in `input_pipeline/tasks`.
"""
