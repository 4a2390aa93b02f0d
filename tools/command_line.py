"""Command lines whose mistakes end in one message and exit status 2."""

import os
import re
import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from tools import hosts


def fail(message: str) -> None:
  print(f"error: {message}", file=sys.stderr)
  sys.exit(2)


def refuse_positional(argv: Sequence[str]) -> None:
  """absl passes words that are no flags on; here they are always mistakes."""
  if len(argv) > 1:
    fail(f"unexpected argument {argv[1]!r}; flags look like --name=value")


def _parse(argv: Sequence[str]) -> list[str]:
  """Flags of a command; a misspelt configuration key takes one line."""
  try:
    words = flags.FLAGS(argv)
    if "config" in flags.FLAGS:
      # A file that could not be read is an error only when it is looked at.
      flags.FLAGS.config.keys()
    return words
  except SystemExit:
    sys.exit(0)  # after --help, where absl says 1
  except flags.Error as error:
    if "Traceback" in str(error):
      fail(f"the configuration cannot be read: {_last_line(error)}")
    fail(f"{error}\nPass --help for the flags.")
  except (AttributeError, KeyError) as error:
    # ml_collections: 'lrr' ... Did you mean "lr" instead of "lrr"?
    # with the quotes and escapes of an exception inside an exception.
    text = str(error.args[0]).replace("\\n", " ").replace("\\", "")
    text = re.sub(r"^(['\"])(.*)\1$", r"\2", text)
    fail(f"unknown configuration key: {text}")
  except (OSError, ImportError, ValueError, TypeError) as error:
    fail(f"the configuration cannot be read: {_last_line(error)}")
  raise AssertionError  # fail does not return


def _last_line(error: Exception) -> str:
  """The cause, which ml_collections puts below what it tried."""
  return str(error).strip().rpartition("\n")[2].strip()


def _user_errors() -> tuple[type[Exception], ...]:
  """The errors that a user's data or settings cause."""
  found: list[type[Exception]] = []
  for module, names in (
    ("interbert_jax.errors", ("ConfigError", "CheckpointError")),
    ("input_pipeline.errors", ("DataError",)),
  ):
    # Only what the command has imported can have been raised.
    if module in sys.modules:
      found += [getattr(sys.modules[module], name) for name in names]
  return tuple(found)


def run(main: Callable[[Sequence[str]], None]) -> None:
  """Runs a command; INTERBERT_TRACEBACK=1 shows where an error came from."""

  def guarded(argv: Sequence[str]) -> None:
    # JAX and Orbax tell so much that the progress line would drown in it.
    # Warnings of our own loggers stay.
    logging.set_verbosity(logging.WARNING)
    logging.get_absl_logger().setLevel("ERROR")
    with hosts.leaving():
      try:
        hosts.join_hosts()
        main(argv)
      except Exception as error:
        show = os.environ.get("INTERBERT_TRACEBACK")
        if show or not isinstance(error, _user_errors()):
          raise
        fail(str(error))

  app.run(guarded, flags_parser=_parse)
