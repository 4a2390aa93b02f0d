"""Every message of a mistake: how to provoke it, and what it must say.

A row is an entry of ROWS in config_errors.py, data_errors.py or
state_errors.py, made by one of four functions of error_row.py:

  provoked("L2", {WORDS: {also: {"key": value}}})    a training with keys
    changed; {root} is a folder of the row, {sound} has files nothing is wrong
    with
  calling("K5", WORDS, function)        anything: function(place) raises it
  running("L1", WORDS, "main.py", ...)  a command of its own (slow)
  elsewhere("K13", WORDS, "test_workdir.py")   provoked in that test file

WORDS are the fixed part of the message, with "..." for what differs: they are
a heading of docs/troubleshooting.md. `also` are words of this very mistake.
tests/test_errors.py runs all rows; bench/reliability.py counts them. Some need
the eight CPU devices of tests/conftest.py: they are about sharing a batch.
"""

from tests.support import config_errors, data_errors, state_errors

CATALOGUE = [*config_errors.ROWS, *data_errors.ROWS, *state_errors.ROWS]
