"""A command for the tests of hosts: meets the others, then does as told.

python -m tests.support.pod_command --action=WHAT --victim=I [flags of hosts]
"""

import itertools
import os
import pathlib
import time

from absl import flags

from interbert_jax.app import command_line, hosts

FLAGS = flags.FLAGS


def main(argv) -> None:
  import jax
  import numpy as np
  from jax.experimental import multihost_utils

  from interbert_jax.contract.errors import ConfigError
  from interbert_jax.run.workdir import check_same_workdir

  me = jax.process_index()
  if FLAGS.workdir:
    workdir = pathlib.Path(FLAGS.workdir.replace("{process}", str(me)))
    check_same_workdir(workdir, wait_seconds=0.5)
  for turn in itertools.count():
    if FLAGS.action != "kill_asleep" or not turn:
      multihost_utils.process_allgather(np.array([turn]))
    if turn == 5 and me == FLAGS.victim:
      if FLAGS.action.startswith("kill"):
        os.kill(os.getpid(), 9)
      raise ConfigError("a wrong key")
    time.sleep(0.02)
    if FLAGS.action == "end":
      return


if __name__ == "__main__":
  flags.DEFINE_enum(
    "action", "end", ("end", "kill", "kill_asleep", "mistake"), "Of the victim."
  )
  flags.DEFINE_integer("victim", 0, "Which process.")
  flags.DEFINE_string("workdir", "", "To check; {process} is filled in.")
  command_line.define_flags(hosts.HostSettings)
  command_line.run(main)
