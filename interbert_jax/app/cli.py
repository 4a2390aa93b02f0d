"""The command `interbert`: what an installed package can be asked for.

  interbert search --model=runs/quickstart_openmoji "a red bus near a dog"

In a clone, main.py trains and eval_*.py evaluate.
"""

import runpy
import sys

# Name -> (module, what it does).
COMMANDS = {
  "convert": ("input_pipeline.convert", "region features -> a store"),
  "check": ("input_pipeline.check", "what is wrong with a store"),
  "extract": ("tools.extract", "pictures -> a store"),
  "search": ("interbert_jax.app.use.search", "the images that fit a text"),
  "index": ("interbert_jax.app.use.index", "vectors of a catalogue"),
  "serve": ("interbert_jax.app.serve", "the same over HTTP, with a page"),
  "recommend": (
    "interbert_jax.app.ranking.recommend",
    "the best items of a catalogue for topics",
  ),
  "export": ("interbert_jax.export", "a checkpoint -> a folder to share"),
}


def usage() -> str:
  lines = [f"  {name:10} {about}" for name, (_, about) in COMMANDS.items()]
  return "\n".join(
    [
      "usage: interbert COMMAND ...",
      "",
      *lines,
      "",
      "interbert COMMAND --help says more.",
    ]
  )


def main() -> int:
  """Runs the command that is named first; returns its exit status."""
  name = sys.argv[1] if len(sys.argv) > 1 else "--help"
  if name in ("-h", "--help"):
    print(usage())
    return 0
  if name not in COMMANDS:
    known = ", ".join(COMMANDS)
    print(f"error: no command {name!r}; wanted one of {known}", file=sys.stderr)
    return 2
  sys.argv[:2] = [f"interbert {name}"]
  runpy.run_module(COMMANDS[name][0], run_name="__main__", alter_sys=True)
  return 0
