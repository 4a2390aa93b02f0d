"""Commands of the data side: bad data ends in one message and status 2."""

import os
import sys
from collections.abc import Callable

from interbert_jax.contract import file_error
from interbert_jax.contract.errors import UserError


def run_command(main: Callable[[], int | None]) -> int:
  """Runs main and returns the exit status of the command.

  INTERBERT_TRACEBACK=1 shows where an error came from.
  """
  try:
    return main() or 0
  except BrokenPipeError:  # the reader of our output, such as head, has left
    sys.stderr.close()
    return 1
  except (UserError, OSError) as error:
    words = str(error)
    if isinstance(error, OSError):
      words = file_error.describe(error)
    if words is None or os.environ.get("INTERBERT_TRACEBACK"):
      raise
    print(f"error: {words}", file=sys.stderr)
    return 2
  except KeyboardInterrupt:
    print("error: interrupted", file=sys.stderr)
    return 130
