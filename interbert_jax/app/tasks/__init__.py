"""What differs between tasks: a module for each, with these functions.

data(settings, split) reads a split, task(settings, info, model) turns batches
into losses, evaluator(data, predictor) measures the model's outputs,
reported(settings) names the metrics of an evaluation, and report(run, settings,
parallel) is what the eval script writes. In place of evaluator a module may
have evaluators(...), by the prefix of their metrics; check(settings) refuses
settings that do not fit together. pretrain.py is read first.
"""
