"""Flags that are made of settings classes."""

import argparse
import dataclasses
import pathlib

import pytest

from interbert_jax.contract.flags import add_flags, read_flags
from interbert_jax.contract.settings import Settings, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(Settings):
  source: pathlib.Path = setting(dataclasses.MISSING, "The file to read.")
  most: int | None = setting(None, "Rows that stay; all by default.", low=1)
  share: float = setting(0.5, "Share that may be bad, 50% or less.", high=0.5)
  order: str = setting("score", "The order.", choices=("score", "stored"))
  restart: bool = setting(False, "Starts anew.")
  workers: int = setting(lambda: 1 + 1, "Processes, one a core.")

  def check(self):
    if self.most == 13:
      yield "most is 13; wanted a lucky number"


def parse(*arguments) -> Options:
  parser = argparse.ArgumentParser(prog="command")
  add_flags(parser, Options)
  return read_flags(parser, Options, parser.parse_args(arguments))


def test_a_flag_for_each_field_with_its_default():
  assert parse("--source=x") == Options(source=pathlib.Path("x"))
  flags = ("--most=3", "--share=0.25", "--order=stored", "--restart")
  assert parse("--source=x", *flags) == Options(
    source=pathlib.Path("x"), most=3, share=0.25, order="stored", restart=True
  )


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    ((), "required: --source"),
    (("--source=x", "--most=0"), "--most is 0; wanted a whole number, 1 or mo"),
    (("--source=x", "--most=13"), "--most is 13; wanted a lucky number"),
    (("--source=x", "--order=any"), "invalid choice: 'any'"),
    (("--source=x", "--most=few"), "invalid int value: 'few'"),
  ],
)
def test_a_mistake_names_its_flag(flags, message, capsys):
  with pytest.raises(SystemExit) as left:
    parse(*flags)
  assert left.value.code == 2
  assert message in capsys.readouterr().err


def test_help_says_what_a_flag_is(capsys):
  with pytest.raises(SystemExit):
    parse("--help")
  words = " ".join(capsys.readouterr().out.split())
  assert "Share that may be bad, 50% or less. (default: 0.5)" in words
  assert "Rows that stay; all by default. --share" in words
  assert "Processes, one a core. (default: 2)" in words
