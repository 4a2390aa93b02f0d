"""Looks through a pickle's opcodes before anything is made of them.

A pickle can be small and yet ask for all memory or all time without naming any
code: with a memo index of four billion, with a hundred million empty dicts, or
with a tuple of tuples of tuples that is the same one ten times over and stands
as a key, so that it is hashed 10**25 times. None of it is ever honest.
"""

import io
import pickle  # nosec B403 # for its error
import pickletools  # nosec B403 # names opcodes, runs none
from typing import NamedTuple

_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")
_GETS = ("GET", "BINGET", "LONG_BINGET")
_TUPLES = ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET")
# These leave the first object that they take on the stack.
_KEEPS = ("BUILD", "APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS")


class _Opcode(NamedTuple):
  """What an opcode does to the stack."""

  name: str
  argument: pickletools.ArgumentDescriptor | None
  pops: int  # below the mark, if it takes all down to a mark
  to_mark: bool
  pushes: int


def _describe(opcode: pickletools.OpcodeInfo) -> _Opcode:
  before = opcode.stack_before
  to_mark = pickletools.markobject in before
  pops = before.index(pickletools.markobject) if to_mark else len(before)
  return _Opcode(
    opcode.name, opcode.arg, pops, to_mark, len(opcode.stack_after)
  )


_OPCODES = {
  code.encode("latin1"): _describe(opcode)
  for code, opcode in pickletools.code2op.items()
}


def scan_pickle(data: bytes, start: int = 0, *, max_opcodes: int) -> int:
  """Returns where the pickle at `start` ends.

  Raises:
    pickle.UnpicklingError: it is no pickle, has no end, or asks for more than
      its size can be worth.
    ValueError: an argument of an opcode is damaged.
  """
  stream = io.BytesIO(data)
  stream.seek(start)
  # Of each object whether it is a tuple, which can take forever to hash.
  stack: list[bool] = []
  marks: list[int] = []
  memo: dict[int, bool] = {}
  for _ in range(max_opcodes):
    opcode = _OPCODES.get(stream.read(1))
    if opcode is None:
      raise pickle.UnpicklingError(
        f"no end, or no opcode, at byte {stream.tell() - 1}"
      )
    name, argument = opcode.name, None
    if name == "STRING":
      stream.readline()  # of Python 2: not ASCII, as pickletools has it
    elif opcode.argument is not None:
      argument = opcode.argument.reader(stream)
    if name == "STOP":
      return stream.tell()
    if name == "MARK":
      marks.append(len(stack))
    elif name == "POP" and marks and marks[-1] == len(stack):
      marks.pop()
    elif name in _GETS:
      stack.append(memo.get(int(argument), False))
    elif name in _PUTS or name == "MEMOIZE":
      # The memo is as long as its highest index; honest ones count up from 0.
      index = len(memo) if argument is None else int(argument)
      if index > stream.tell() - start:
        raise pickle.UnpicklingError(f"memo index {argument}")
      memo[index] = bool(stack and stack[-1])
    else:
      _step(opcode, stack, marks)
  raise pickle.UnpicklingError(f"more than {max_opcodes} opcodes")


def _step(opcode: _Opcode, stack: list[bool], marks: list[int]):
  """Does to the stack what the opcode does; looks at keys."""
  taken: list[bool] = []
  if opcode.to_mark:
    if not marks:
      raise pickle.UnpicklingError(f"{opcode.name} without a mark")
    mark = marks.pop()
    taken = stack[mark:]
    del stack[mark:]
  if len(stack) < opcode.pops:
    raise pickle.UnpicklingError(f"{opcode.name} of an empty stack")
  below = stack[len(stack) - opcode.pops :]
  del stack[len(stack) - opcode.pops :]
  name, keys = opcode.name, []
  if name in ("SETITEMS", "DICT"):
    keys = taken[::2]
  elif name in ("ADDITEMS", "FROZENSET"):
    keys = taken
  elif name == "SETITEM":
    keys = below[1:2]
  if any(keys):
    raise pickle.UnpicklingError("found tuple as dict key or in a set")
  if name in _KEEPS or name == "DUP":
    stack += below[:1] * opcode.pushes
  else:
    stack += [name in _TUPLES] * opcode.pushes
