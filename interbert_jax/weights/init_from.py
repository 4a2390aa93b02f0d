"""The one way to start a run from given weights, of whatever kind.

`read_init` finds out what `path` is, reads it, and says of every parameter of
the model whether it is from there or stays random.
"""

import dataclasses
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath
from flax import traverse_util

from interbert_jax.checkpoints.params import load_params
from interbert_jax.contract.errors import CheckpointError, ConfigError
from interbert_jax.model.config import InterBertConfig, recorded_model
from interbert_jax.weights import hf_bert
from interbert_jax.weights.export_folder import export_source
from interbert_jax.weights.official import check_tied, num_labels
from interbert_jax.weights.official_config import config_from_official
from interbert_jax.weights.official_names import TIED, official_tensors
from interbert_jax.weights.settings import InitSettings
from interbert_jax.weights.source import (
  InitReport,
  WeightsSource,
  beside,
  check_vocabulary,
  find_weights,
  guess_format,
  is_checkpoint,
)
from interbert_jax.weights.weights_file import read_weights

# Shapes do not tell these, and other values make another function.
_SAME_FIELDS = (
  "num_interaction_layers",  # an official file has them in one list with others
  "num_heads",
  "region_num_heads",
  "fusion",
)


def read_init(
  path: str,
  wanted,
  *,
  config: InterBertConfig,
  vocab_sha256: str | None = None,
  **options: Any,
) -> tuple[Any, InitReport]:
  """Parameters to start from.

  Args:
    path: a checkpoint's step directory, an export folder, a directory with a
      Hugging Face BERT, or a weights file (ours, official, a BERT's).
    wanted: the model's parameters, as arrays or shapes.
    config: the model.
    vocab_sha256: of the vocabulary in use.
    options: fields of `InitSettings`.

  Returns:
    (a tree like `wanted`, None where a parameter stays random; the report)

  Raises:
    CheckpointError: listing everything that does not fit.
    ConfigError: for options that make no sense.
  """
  settings = InitSettings(**options)
  format, source = _read(path, config, settings)
  note = check_vocabulary(
    pathlib.Path(path),
    wanted=vocab_sha256,
    recorded=source.vocab_sha256,
    file=settings.vocab,
  )
  _check_model(path, source.model, config)
  flat = traverse_util.flatten_dict(wanted, sep="/")
  values, report = _fit(
    source,
    {k: tuple(v.shape) for k, v in flat.items()},
    path=path,
    skip=settings.skip,
  )
  notes = source.notes if note is None else (*source.notes, note)
  return (
    traverse_util.unflatten_dict({k: values.get(k) for k in flat}, sep="/"),
    InitReport(str(path), format, **report, notes=notes),
  )


def _read(
  path: str, config: InterBertConfig, settings: InitSettings
) -> tuple[str, WeightsSource]:
  """(the format of the weights, their tensors)."""
  format, layers = settings.format, settings.layers
  if format == "checkpoint" or (
    format == "auto" and is_checkpoint(epath.Path(path))
  ):
    format, source = "checkpoint", _checkpoint_source(path, settings.ema)
  else:
    folder = pathlib.Path(path)
    file = find_weights(folder)
    tensors = read_weights(file)
    if format == "auto":
      format = guess_format(tensors, file)
    if settings.ema:
      raise ConfigError(
        f"init.ema is for a checkpoint of a run; {path} is taken as format "
        f"{format!r}: leave it out"
      )
    if format == "bert":
      notes = hf_bert.check_bert_config(
        hf_bert.read_bert_config(folder),
        config,
        path=folder,
        with_regions=bool(settings.region_layers),
      )
      try:
        source = hf_bert.bert_source(
          tensors, config, layers=layers, region_layers=settings.region_layers
        )
      except ValueError as error:
        raise type(error)(f"{path}: {error}") from error
      return format, dataclasses.replace(source, notes=tuple(notes))
    if format == "official":
      source = _official_source(path, tensors, config)
    else:
      source = export_source(folder, file, tensors)
  if layers or settings.region_layers:
    raise ConfigError(
      f"init.layers and init.region_layers are for a BERT; {path} is taken as "
      f"format {format!r}: leave them empty, or set init.format"
    )
  return format, source


def _checkpoint_source(path: str, ema: bool) -> WeightsSource:
  params, meta = load_params(path, "ema" if ema else "params")
  flat = traverse_util.flatten_dict(params, sep="/")
  return WeightsSource(
    {name: (name, value) for name, value in flat.items()},
    vocab_sha256=meta.get("vocab_sha256"),
    model=recorded_model(meta["model"], path=path)
    if meta.get("model")
    else None,
  )


def _official_source(
  path: str, tensors: Mapping[str, np.ndarray], config: InterBertConfig
) -> WeightsSource:
  check_tied(tensors, path)
  known = {t.name: t for t in official_tensors(config, num_labels(tensors))}
  values = {
    # A surplus tensor keeps its name, which no parameter has.
    known[name].path if name in known else name: (
      name,
      known[name].turn(value) if name in known else value,
    )
    for name, value in tensors.items()
    if name != TIED
  }
  unused = {TIED: "the word embeddings themselves"} if TIED in tensors else {}
  model = _official_model(pathlib.Path(path))
  if model:
    return WeightsSource(values, unused, model=model)
  note = (
    f"no official config.json beside {path}, and the file does not say where "
    f"its interaction layers end: taken as {config.num_interaction_layers} of "
    f"them, then {config.num_text_layers} text layers; heads unchecked"
  )
  return WeightsSource(values, unused, notes=(note,))


def _official_model(path: pathlib.Path) -> InterBertConfig | None:
  """The model of an official configuration beside the weights, if any."""
  file = beside(path, "config.json")
  try:
    return config_from_official(file) if file else None
  except ConfigError:  # something else's configuration
    return None


def _check_model(
  path: str, recorded: InterBertConfig | None, config: InterBertConfig
) -> None:
  there, here = (
    {name: getattr(model, name) for name in _SAME_FIELDS}
    for model in (recorded or config, config)
  )
  changed = [
    f"{name} is {there[name]!r} there and {here[name]!r} here"
    for name in _SAME_FIELDS
    if there[name] != here[name]
  ]
  if changed:
    raise CheckpointError(
      f"{path} was made with another model: {'; '.join(changed)}; set "
      "config.model as it was"
    )


def _head(path: str) -> str:
  """The part of the model that may come and go as a whole."""
  return path.partition("/")[0]


# Parts of the encoder that a model of one modality does without.
_OPTIONAL = re.compile(
  r"encoder/((?:region|text)_(?:embeddings|encoder|pooler))/"
)


def _stream(path: str) -> str:
  """The part of the encoder that may come and go as a whole; "" for others."""
  part = _OPTIONAL.match(path)
  return part[1] if part else ""


def _fit(
  source: WeightsSource,
  wanted: Mapping[str, tuple[int, ...]],
  *,
  path: str,
  skip: Sequence[str],
) -> tuple[dict[str, np.ndarray], dict[str, dict[str, str]]]:
  """Arrays by path, and the three groups of the report."""
  values = source.values
  heads = {_head(name) for name in wanted}
  streams = {"", *map(_stream, wanted)}
  params, loaded, random = {}, {}, {}
  unused = dict(source.unused)
  problems = []
  for name, (theirs, value) in values.items():
    if name.startswith(tuple(skip)):
      unused[theirs] = "init.skip names its parameter"
    elif name in wanted:
      value = np.asarray(value)
      if value.shape != wanted[name]:
        problems.append(
          f"misshapen: {name} is {value.shape}, wanted {wanted[name]}"
          + (f" (from {theirs})" if theirs != name else "")
        )
        continue
      value = np.array(value, np.float32)
      if not np.isfinite(value).all():
        count = value.size - np.isfinite(value).sum()
        problems.append(f"not finite: {count} values of {theirs}")
      params[name], loaded[name] = value, theirs
    elif _stream(name) not in streams:
      unused[theirs] = "the model has no such stream"
    elif source.is_whole and (_head(name) in heads or "/" not in name):
      problems.append(f"surplus: {theirs} {np.shape(value)}")
    else:
      unused[theirs] = "the model has no such head"
  whole_parts = {"encoder", *(_head(name) for name in values)}
  reasons = sorted(source.missing.items(), key=lambda item: -len(item[0]))
  for name, shape in wanted.items():
    if name in values and not name.startswith(tuple(skip)):
      continue
    if name.startswith(tuple(skip)):
      random[name] = "init.skip names it"
    elif source.is_whole and _head(name) in whole_parts:
      problems.append(f"missing: {name} {shape}")
    else:
      whys = (why for start, why in reasons if name.startswith(start))
      random[name] = next(whys, "the file has no such head")
  if problems:
    raise CheckpointError(
      f"{path} does not fit the model ({len(problems)} differences):\n  "
      + "\n  ".join(problems)
      + "\nset config.model by these weights, or let parameters start at "
      "random by the beginnings of their paths: "
      "--config.init.skip=\"('region_head/decoder',)\""
    )
  if not params:
    raise CheckpointError(
      f"{path}: nothing would be loaded; init.skip is {tuple(skip)}"
    )
  return params, {"loaded": loaded, "random": random, "unused": unused}
