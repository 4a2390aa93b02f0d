"""Command lines whose mistakes end in one message and exit status 2.

A mistake is the user's (2), or the machine's, which is too small (1). All else
is a bug, with a traceback (1). A traceback is also what
`--config.debug=True` and INTERBERT_TRACEBACK=1 give of a mistake.
"""

import difflib
import logging as python_logging
import os
import pathlib
import re
import sys
import traceback
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from interbert_jax.app import hosts
from interbert_jax.contract import file_error
from interbert_jax.contract.errors import UserError

USER_ERROR, BUG, INTERRUPTED = 2, 1, 130  # the last as a shell gives it


def fail(message: str, status: int = USER_ERROR) -> None:
  print(f"error: {message}", file=sys.stderr)
  sys.exit(status)


def refuse_positional(argv: Sequence[str]) -> None:
  """absl passes words that are no flags on; here they are always mistakes."""
  if len(argv) > 1:
    fail(f"unexpected argument {argv[1]!r}; flags look like --name=value")


def parse(
  argv: Sequence[str], values: flags.FlagValues = flags.FLAGS
) -> list[str]:
  """Flags of a command; a misspelt configuration key takes one line."""
  try:
    words = values(argv)
    if "config" in values:
      # A file that could not be read is an error only when it is looked at.
      values.config.keys()
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
  except (OSError, ImportError, ValueError, TypeError, SyntaxError) as error:
    words = f"the configuration cannot be read: {_last_line(error)}"
    fail(words + _near(argv))
  raise AssertionError  # fail does not return


def _last_line(error: Exception) -> str:
  """The cause, which ml_collections puts below what it tried."""
  return str(error).strip().rpartition("\n")[2].strip()


def _near(argv: Sequence[str]) -> str:
  """The configuration that may have been meant by a path to none."""
  asked = next((a for a in argv if a.startswith("--config=")), "")
  path, _, _ = asked.removeprefix("--config=").partition(":")
  if not path or os.path.exists(path):
    return ""
  folder = pathlib.Path(__file__).parents[2] / "configs"
  stem = pathlib.Path(path).stem
  found = difflib.get_close_matches(stem, [p.stem for p in folder.glob("*.py")])
  hint = f"did you mean configs/{found[0]}.py? " if found else ""
  return f" ({hint}README.md lists the configurations)"


def explain(error: BaseException) -> tuple[str, int] | None:
  """(message, exit status) of an error that is no bug."""
  if isinstance(error, KeyboardInterrupt):
    return "interrupted", INTERRUPTED
  if isinstance(error, UserError):
    return str(error), USER_ERROR
  if isinstance(error, OSError) and (words := file_error.describe(error)):
    return words, USER_ERROR
  text = str(error).strip()
  if isinstance(error, MemoryError) or text.startswith("RESOURCE_EXHAUSTED"):
    said = text.partition("\n")[0] or "the machine has no more"
    return (
      f"out of memory: {said}\n"
      "  of the device: lower train.batch_size, raise train.accumulate_steps, "
      "or set model.remat=full;\n"
      "  in evaluation: lower evals.batch_size and evals.pairs_per_step;\n"
      "  of the host: lower input.cache_bytes; input.max_regions counts "
      "everywhere",
      BUG,
    )
  if _from_backend(error):
    asked = os.environ.get("JAX_PLATFORMS")
    said = text.removeprefix("Unable to initialize backend ") or "none found"
    wanted = f"JAX_PLATFORMS={asked} asks for" if asked else "JAX looks for"
    return (
      f"{wanted} a device that is not there: {said}\n"
      "  leave JAX_PLATFORMS out, or set it to cpu; a GPU needs "
      'pip install "jax[cuda13]", a TPU pip install "jax[tpu]"',
      USER_ERROR,
    )
  return None


def _from_backend(error: BaseException) -> bool:
  """Whether JAX has failed to start on what it was told to run on."""
  frames = traceback.extract_tb(error.__traceback__)
  return bool(frames) and frames[-1].filename.endswith("xla_bridge.py")


def _shows_traceback() -> bool:
  if os.environ.get("INTERBERT_TRACEBACK"):
    return True
  return "config" in flags.FLAGS and bool(flags.FLAGS.config.get("debug"))


def _unraisable(found) -> None:
  """What Orbax's threads leave behind when a save fails is no news."""
  if "Event loop is closed" not in str(found.exc_value):
    sys.__unraisablehook__(found)


class _Plain(python_logging.Formatter):
  """Warnings as the other messages of a command."""

  def format(self, record):
    return f"{record.levelname.lower()}: {record.getMessage()}"


def run(main: Callable[[Sequence[str]], None]) -> None:
  """Runs a command."""

  def guarded(argv: Sequence[str]) -> None:
    # JAX and Orbax tell so much that the progress line would drown in it; what
    # they raise is told below. Warnings of our own loggers stay.
    logging.set_verbosity(logging.WARNING)
    logging.get_absl_logger().setLevel("CRITICAL")
    logging.get_absl_handler().setFormatter(_Plain())
    python_logging.getLogger("asyncio").setLevel("CRITICAL")
    sys.unraisablehook = _unraisable
    with hosts.leaving():
      try:
        hosts.join_hosts()
        main(argv)
      except BrokenPipeError:  # the reader of our output, such as head, left
        sys.stderr.close()
        sys.exit(BUG)
      except Exception as error:
        found = explain(error)
        if found is None:
          raise
        if _shows_traceback():
          traceback.print_exc()
          sys.exit(found[1])
        fail(*found)

  try:
    app.run(guarded, flags_parser=parse)
  except KeyboardInterrupt as error:
    fail(*explain(error))
