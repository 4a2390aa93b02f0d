"""What differs between tasks: a module for each, with these functions.

  data(settings, split)              batches of a split
  task(settings, info, model)        how they become losses
  evaluator(data, predictor)         metrics of what the model says of a split
  report(run, settings, parallel)    what the eval script writes

`settings` are a configs.common.Experiment and `info` the facts of the data. A
module that evaluates in another way has, in place of the third,

  evaluators(settings, task, held_out, parallel)    by their metrics' prefix

and it may have reported(settings), the names of an evaluation's metrics by
their prefix, and check(settings), which refuses what may not be together.
"""
