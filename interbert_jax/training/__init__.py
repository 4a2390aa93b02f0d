"""The training loop, its steps and the optimiser.

Read steps.py (the pure steps, which `interbert_jax/parallel.py` compiles), then
train.py: restore or initialise, step, log, evaluate, save. optim.py composes
the optimiser, schedules.py the learning rate, and resume.py decides whether a
run may go on with changed settings.
"""
