"""Any value of any key: it runs, or it is refused in words."""

import contextlib
import io
from unittest import mock

import pytest
from absl import flags
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import config_flags

from configs import common
from interbert_jax.app import command_line, overrides
from interbert_jax.app.validate import validate
from interbert_jax.contract.errors import ConfigError
from tests.interbert_jax.app.test_validate import set_key
from tests.test_configs import leaves

KEYS = sorted(key for key, _ in leaves(common.base_config()))
OPTIM = set(common.base_config().optim)
BOUNDED = settings(
  max_examples=150, derandomize=True, deadline=None, database=None
)

NASTY = (
  "",
  *("None", "nan", "-inf", "inf", "True", "0", "-1", "1e400", "1.5", "1e-9"),
  *("(1, 2)", "(0.5, 'x')", "(('a', 1),)", "(('(', 1),)", "((", "[1]", "()"),
  *("{'a': 1}", "'", "\\", "\n", "\0", "=", "--config.seed=1", "é", "9" * 40),
  *("lambda: 0", "__import__('os').abort()", "a.b", "%s", "{root}"),
)
TEXTS = st.one_of(
  st.sampled_from(NASTY),
  st.integers().map(str),
  st.floats().map(repr),
  st.text(max_size=8),
)


def parsed(words: list[str]):
  """The configuration of a command line, by main.py's own parser."""
  overrides.accept_none()
  values = flags.FlagValues()
  holder = config_flags.DEFINE_config_dict(
    "config", common.base_config(), flag_values=values
  )
  argv = ["main.py", *words]
  # ml_collections looks at the words themselves for what is overridden.
  with mock.patch("sys.argv", argv):
    command_line.parse(argv, values)
  return holder.value


@BOUNDED
@given(st.dictionaries(st.sampled_from(KEYS), TEXTS, min_size=1, max_size=3))
def test_any_words_on_the_command_line(overrides):
  words = [f"--config.{key}={text}" for key, text in overrides.items()]
  said = io.StringIO()
  try:
    with contextlib.redirect_stderr(said):
      config = parsed(words)
  except SystemExit as end:
    assert end.code == 2
    assert said.getvalue().startswith("error: ")
    assert "Traceback" not in said.getvalue()
    return
  with contextlib.suppress(ConfigError):
    validate(config, devices=8, hosts=2)


@BOUNDED
@given(st.text(max_size=8).filter(lambda name: name not in OPTIM))
def test_any_name_of_a_key(name):
  said = io.StringIO()
  with pytest.raises(SystemExit) as end, contextlib.redirect_stderr(said):
    parsed([f"--config.optim.{name}=1"])
  assert end.value.code == 2
  assert said.getvalue().startswith("error: ")
  assert "Traceback" not in said.getvalue()


NUMBERS = st.integers(-3, 9) | st.integers()
SHARES = st.floats() | st.sampled_from((0.0, 0.5, 1.0)) | NUMBERS
WORDS = st.sampled_from(
  ("", "jit", "pmap", "fsdp", "val/loss", "val", "max", "linear", "constant")
) | st.text(max_size=5)
OF_TYPE = {
  bool: st.booleans(),
  int: NUMBERS,
  float: SHARES,
  str: WORDS,
  tuple: st.lists(
    st.one_of(NUMBERS, SHARES, WORDS, st.tuples(WORDS, SHARES)), max_size=3
  ).map(tuple),
}


def changes(config):
  """Some keys with values of their types."""
  types = {}

  def collect(section, prefix):
    for name in section:
      kind = section.get_type(name)
      if kind in OF_TYPE:
        types[f"{prefix}{name}"] = kind
      else:
        collect(section[name], f"{prefix}{name}.")

  collect(config, "")
  del types["task.name"]
  return st.dictionaries(
    st.sampled_from(sorted(types)), st.none(), max_size=12
  ).flatmap(
    lambda keys: st.fixed_dictionaries(
      {key: OF_TYPE[types[key]] for key in keys}
    )
  )


@pytest.mark.parametrize("task", ["pretrain", "retrieval", "text", "vcr"])
def test_any_values_of_the_right_type(task):
  base = common.base_config(task)

  @settings(BOUNDED, max_examples=300)
  @given(changes(base), st.integers(1, 9), st.integers(1, 3))
  def check(changed, devices, hosts):
    config = base.to_dict()
    for key, value in changed.items():
      set_key(config, key, value)
    with contextlib.suppress(ConfigError):
      validate(config, devices=devices, hosts=hosts)

  check()
