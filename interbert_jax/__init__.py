"""InterBERT in JAX: the model, its training, evaluation and use.

Outside of app/ nothing here imports TensorFlow or `input_pipeline`: any data
that gives batches as contract/batch.py describes them will do.

Read contract/batch.py, model/interbert.py, tasks/pretrain.py, training/steps.py
and training/train.py; README.md has the whole path and all packages.
"""
