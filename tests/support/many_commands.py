"""Runs several of our commands in one process, which may be one of several.

  python -m tests.support.many_commands COMMANDS.json [the flags of hosts]

Imports and joining take longer than a tiny evaluation.
"""

import json
import pathlib
import runpy
import sys

from absl import flags

from interbert_jax.app import command_line, hosts


def main(argv) -> None:
  absls = set(flags.FLAGS) - HOSTS
  for command in json.loads(pathlib.Path(argv[1]).read_text()):
    for name in set(flags.FLAGS) - absls:  # those of the command before
      delattr(flags.FLAGS, name)
    sys.argv = command
    try:
      runpy.run_path(command[0], run_name="__main__")
    except SystemExit as end:
      if end.code:
        raise


if __name__ == "__main__":
  before = set(flags.FLAGS)
  command_line.define_flags(hosts.HostSettings)
  HOSTS = set(flags.FLAGS) - before
  command_line.run(main)
