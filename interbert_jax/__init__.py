"""InterBERT in JAX: the model, its training, evaluation and use.

Outside of app/ nothing here imports TensorFlow or `input_pipeline`: any data
that gives batches as contract/batch.py describes them will do.

Read contract/batch.py, model/interbert.py, tasks/pretrain.py, training/steps.py
and training/train.py; README.md has the whole path and all packages.
"""

import importlib
import importlib.util
import os
import sys

# A command says how to get its packages: python -m NAME, or a script beside
# this folder. Who imports a library gets Python's own error.
_STARTED = os.path.abspath((sys.argv or [""])[0])
_BESIDE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_NEED = None
if os.path.basename(_STARTED) == "-m":
  _NEED = "numpy"  # data can be read without the libraries of the model
elif os.path.dirname(_STARTED) == _BESIDE:
  _NEED = "absl"
if _NEED and importlib.util.find_spec(_NEED) is None:
  sys.exit(
    "error: the packages of requirements.txt are not installed for "
    + sys.executable
    + "; put ./run.sh in place of python, which makes an environment and "
    "installs them, or activate yours (source .venv/bin/activate)"
  )


def load(path, **options):
  """Opens a trained model: a workdir, a step of one, or an exported folder.

    model = load("runs/quickstart_openmoji")
    model.search("a red bus near a dog", top=5)

  See `Model` and `load` in app/use/model.py.
  """
  from interbert_jax.app.use.model import load

  return load(path, **options)


# What `load` works with, imported when it is asked for.
_USED = {"Regions": "images", "VectorIndex": "index", "Wanted": "topics"}


def __getattr__(name: str):
  if name in _USED:
    module = importlib.import_module(f"interbert_jax.app.use.{_USED[name]}")
    return getattr(module, name)
  raise AttributeError(f"module 'interbert_jax' has no attribute {name!r}")
