"""The keys of a configuration and the types of their values.

A configuration file is Python, and may set what `configs/common.py` does not
have; one that was read from JSON has lists for tuples, and no types at all.
"""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from configs import common, finetuning
from interbert_jax.app.tasks.find import TASKS

# Named by the user: each is like common.corpus().
_OPEN = "input.corpora"
# What tuples hold; those of numbers are in config_ranges.py.
_ITEMS = {
  "init.layers": int,
  "init.region_layers": int,
  "init.skip": str,
  "input.labels": str,
  "input.objectives": str,
}
_WORDS = {
  bool: "True or False",
  int: "a whole number",
  float: "a number",
  str: "words",
  tuple: "a tuple",
  dict: "a section",
}


def plain(value: Any) -> Any:
  """Dicts and tuples of a ConfigDict, or of what JSON has become."""
  if hasattr(value, "to_dict"):
    value = value.to_dict()
  if isinstance(value, Mapping):
    return {key: plain(item) for key, item in value.items()}
  if isinstance(value, (list, tuple)):
    return tuple(plain(item) for item in value)
  return value


def leaves(section: Mapping[str, Any], prefix: str = "") -> Iterator:
  """(key, value) of everything that is no section."""
  for name, value in section.items():
    if isinstance(value, Mapping):
      yield from leaves(value, f"{prefix}{name}.")
    else:
      yield f"{prefix}{name}", value


def mistakes(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
  """(key, what is wrong) of keys that are unknown, missing, of another type.

  Args:
    config: as `plain` gives it.
  """
  task = config.get("task")
  name = task.get("name") if isinstance(task, Mapping) else None
  if not isinstance(name, str):
    yield (
      "task.name",
      f"task.name is {name!r}; wanted one of {', '.join(TASKS)}",
    )
  elif name == "pretrain":
    yield from _compare(config, common.base_config(), "")
  elif hasattr(finetuning, name) and name in TASKS:
    base = getattr(finetuning, name)(common.base_config())
    yield from _compare(config, base, "")


def _compare(found, base, prefix: str) -> Iterator[tuple[str, str]]:
  for name in sorted(found.keys() - base.keys(), key=str):
    near = difflib.get_close_matches(str(name), list(base), n=1)
    hint = f"did you mean {prefix}{near[0]}?" if near else "remove it"
    yield f"{prefix}{name}", f"{prefix}{name} is no key; {hint}"
  for name in base:
    key = f"{prefix}{name}"
    wanted = base.get_type(name)
    if hasattr(wanted, "to_dict"):
      wanted = dict
    if name not in found:
      words = "a section" if wanted is dict else _words(base, name)
      yield key, f"{key} is missing; wanted {words}"
    elif wanted is not dict:
      value, item = found[name], _ITEMS.get(key)
      words = _words(base, name)
      fits = _fits(value, wanted, may_be_none=base[name] is None)
      if fits and item:
        words += f", each of it {_WORDS[item]}"
        fits = all(_fits(x, item, may_be_none=False) for x in value)
      if not fits:
        yield key, f"{key} is {value!r}; wanted {words}"
    elif not isinstance(found[name], Mapping):
      yield key, f"{key} is {found[name]!r}; wanted a section"
    elif key == _OPEN:
      for corpus, value in found[name].items():
        if isinstance(value, Mapping):
          yield from _compare(value, common.corpus(), f"{key}.{corpus}.")
        else:
          yield (
            f"{key}.{corpus}",
            f"{key}.{corpus} is {value!r}; wanted a corpus",
          )
    else:
      yield from _compare(found[name], base[name], f"{key}.")


def _words(base, name: str) -> str:
  words = _WORDS[base.get_type(name)]
  return f"{words}, or None" if base[name] is None else words


def _fits(value: Any, wanted: type, *, may_be_none: bool) -> bool:
  if value is None:
    return may_be_none
  if isinstance(value, bool) or wanted is bool:
    return isinstance(value, bool) and wanted is bool
  if wanted is float:
    return isinstance(value, (int, float))
  return isinstance(value, wanted)
