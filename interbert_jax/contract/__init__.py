"""What the data side and the model side must agree on.

The batch, the errors that a user can cause, settings, and how files of
strangers are opened. It imports NumPy and the standard library, never JAX or
TensorFlow; `input_pipeline` may import this package and no other of ours.

Read batch.py first: it says which arrays a batch has, of which shapes and
types. Then errors.py and settings.py; the rest is read when it is needed.
"""
