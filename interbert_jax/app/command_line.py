"""Commands with absl's flags: what they add to contract/command.py.

Mistakes in flags and configurations take one line. So does a machine that is
too small (exit status 1) or lacks the device that JAX was told to use (2).
`--config.debug=True` shows where a mistake came from.
"""

import contextlib
import dataclasses
import difflib
import hashlib
import logging as python_logging
import os
import pathlib
import platform
import re
import sys
import typing
from collections.abc import Callable, Sequence
from typing import TypeVar

from absl import app, flags, logging

from interbert_jax.app import hosts
from interbert_jax.contract import command
from interbert_jax.contract.command import BUG, INTERRUPTED, USER_ERROR
from interbert_jax.contract.errors import ConfigError
from interbert_jax.contract.files import cache_dir
from interbert_jax.contract.settings import Settings, rules_of

# They belong to the script that asks for them, so that its --help lists them.
flags.disclaim_key_flags()

S = TypeVar("S", bound=Settings)
_DEFINE = {
  bool: flags.DEFINE_bool,
  int: flags.DEFINE_integer,
  float: flags.DEFINE_float,
  str: flags.DEFINE_string,
  tuple: flags.DEFINE_list,
}


def fail(message: str, status: int = USER_ERROR) -> None:
  print(f"error: {message}", file=sys.stderr)
  sys.exit(status)


def refuse_positional(argv: Sequence[str]) -> None:
  """Refuses words that are no flags, which absl would pass on."""
  if len(argv) > 1:
    fail(f"unexpected argument {argv[1]!r}; flags look like --name=value")


def define_flags(cls: type[Settings]) -> None:
  """A flag for each setting; one without a default must be given."""
  for field in dataclasses.fields(cls):
    rule = rules_of(cls)[field.name]
    required = field.default is dataclasses.MISSING
    default = None if required else field.default
    if isinstance(default, tuple):
      default = [str(item) for item in default]
    if rule.choices:
      flags.DEFINE_enum(field.name, default, rule.choices, rule.about)
    else:
      define = _DEFINE[typing.get_origin(rule.kind) or rule.kind]
      define(field.name, default, rule.about)
    if required:
      flags.mark_flag_as_required(field.name)


def read_flags(cls: type[S]) -> S:
  """The settings that the flags say.

  Raises:
    ConfigError: names the flags with values that they may not have.
  """
  values = {}
  for field in dataclasses.fields(cls):
    value = getattr(flags.FLAGS, field.name)
    if isinstance(value, list):
      (item, *_) = typing.get_args(rules_of(cls)[field.name].kind)
      try:
        value = tuple(item(word) for word in value)
      except ValueError:
        said = ",".join(map(str, value))
        raise ConfigError(f"--{field.name}={said}: not numbers") from None
    values[field.name] = value
  try:
    return cls(**values)
  except ConfigError as error:
    lines = str(error).splitlines()
    raise ConfigError("\n".join(f"--{line}" for line in lines)) from None


def parse(
  argv: Sequence[str], values: flags.FlagValues = flags.FLAGS
) -> list[str]:
  """Flags of a command; a misspelt configuration key takes one line."""
  try:
    words = values(argv)
    # A file that could not be read is an error only when it is looked at.
    if "config" in values and values.config is not None:
      values.config.keys()
    return words
  except SystemExit:
    sys.exit(0)  # after --help, where absl says 1
  except flags.Error as error:
    if "Traceback" in str(error):
      fail(f"the configuration cannot be read: {_last_line(error)}")
    # absl shows the arguments of what a parser of a flag raised.
    words = re.sub(r"\('(.*)', '(.*)'\)$", r"\1", str(error))
    fail(f"{words}\nPass --help for the flags.")
  except (AttributeError, KeyError) as error:
    # ml_collections: 'lrr' ... Did you mean "lr" instead of "lrr"?
    # with the quotes and escapes of an exception inside an exception.
    text = str(error.args[0]).replace("\\n", " ").replace("\\", "")
    text = re.sub(r"^(['\"])(.*)\1$", r"\2", text)
    inside = re.search(r"does not support indexing.*lookup: (\S+)$", text)
    if inside:  # of a value, where a section was meant
      text = f"{inside[1]}: {inside[1].rpartition('.')[0]} is no section"
    fail(f"unknown configuration key: {text}")
  except (OSError, ImportError, ValueError, TypeError, SyntaxError) as error:
    words = f"the configuration cannot be read: {_last_line(error)}"
    fail(words + _near(argv))
  raise AssertionError  # fail does not return


def _last_line(error: Exception) -> str:
  """The cause, which ml_collections puts below what it tried."""
  return str(error).strip().rpartition("\n")[2].strip()


def _near(argv: Sequence[str]) -> str:
  """A hint for a --config that does not exist: the nearest name."""
  asked = next((a for a in argv if a.startswith("--config=")), "")
  path, _, _ = asked.removeprefix("--config=").partition(":")
  if not path or os.path.exists(path):
    return ""
  folder = pathlib.Path(__file__).parents[2] / "configs"
  stem = pathlib.Path(path).stem
  names = difflib.get_close_matches(stem, [p.stem for p in folder.glob("*.py")])
  hint = f"did you mean configs/{names[0]}.py? " if names else ""
  return f" ({hint}README.md lists the configurations)"


def explain(error: BaseException) -> tuple[str, int] | None:
  """(message, exit status) of an error that is no bug."""
  if (explained := command.explain(error)) is not None:
    return explained
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
  # JAX has a bare assert where CUDA is asked for and not installed.
  if type(error) in (RuntimeError, AssertionError) and not _has_devices():
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


def _has_devices() -> bool:
  """Whether JAX starts on what it was told to run on."""
  if "jax" not in sys.modules:
    return True
  import jax

  try:
    return bool(jax.devices())
  except (RuntimeError, AssertionError):
    return False


def _shows_traceback() -> bool:
  config = flags.FLAGS.config if "config" in flags.FLAGS else None
  return bool(config and config.get("debug")) or command.asks_for_traceback()


def _unraisable(error) -> None:
  """Silences what Orbax's threads leave behind when a save fails."""
  if "Event loop is closed" not in str(error.exc_value):
    sys.__unraisablehook__(error)


def keep_compiled() -> None:
  """What is compiled serves the next start, on processors of this kind.

  JAX_COMPILATION_CACHE_DIR names another folder, or none if it is empty.
  """
  if "JAX_COMPILATION_CACHE_DIR" in os.environ:
    return
  kind = platform.machine()
  with contextlib.suppress(OSError):
    cpu = pathlib.Path("/proc/cpuinfo").read_text()
    kind += str(re.findall("^(?:flags|Features).*", cpu, re.MULTILINE)[:1])
  name = hashlib.sha256(kind.encode()).hexdigest()[:12]
  folder = cache_dir("compiled", name)
  with contextlib.suppress(OSError):  # a home that cannot be written
    os.makedirs(folder, exist_ok=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder  # of child processes too
    seconds = os.environ.setdefault(
      "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0"
    )
    if "jax" in sys.modules:  # which has read them
      import jax

      jax.config.update("jax_compilation_cache_dir", folder)
      jax.config.update(
        "jax_persistent_cache_min_compile_time_secs", float(seconds)
      )


class _Plain(python_logging.Formatter):
  """Shows warnings as the other messages of a command."""

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
    keep_compiled()

    def work() -> None:
      if "distributed" in flags.FLAGS:
        hosts.join_hosts(read_flags(hosts.HostSettings))
      main(argv)

    with hosts.leaving():
      status = command.run_command(
        work, explain=explain, shows_traceback=_shows_traceback
      )
      sys.exit(status)

  try:
    app.run(guarded, flags_parser=parse)
  except KeyboardInterrupt:  # before the command's own work
    fail("interrupted", INTERRUPTED)
