"""A model as a folder to share: tensors, JSON, vocabulary, card, checksums.

The tensors are in model.safetensors under the paths of our parameter tree,
joined by dots. Nothing in the folder can run code, and Orbax is not needed to
read it.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from interbert_jax.contract import json_file
from interbert_jax.contract.errors import CheckpointError
from interbert_jax.contract.files import file_sha256, whole, write_text
from interbert_jax.model.config import InterBertConfig, recorded_model
from interbert_jax.weights import model_card
from interbert_jax.weights.official import params_to_torch
from interbert_jax.weights.official_config import official_config
from interbert_jax.weights.source import (
  WeightsSource,
  check_words,
  current_name,
  vocab_forms,
)
from interbert_jax.weights.weights_file import read_weights, write_safetensors

FORMAT, VERSION = "interbert-jax", 1
WEIGHTS, CONFIG, VOCAB = "model.safetensors", "config.json", "vocab.txt"
CARD, SUMS = "README.md", "SHA256SUMS"
OFFICIAL_WEIGHTS, OFFICIAL_CONFIG = "official.safetensors", "official.json"
# Facts of a checkpoint that an export keeps.
_KEPT = (
  "step",
  "ema",
  "data_fingerprint",
  "answers_sha256",
  "extractor",
  "batch_size",
  "seed",
  "source",
  "versions",
)
# Settings of the data that a model was trained for; paths stay at home.
_INPUT = (
  *("max_regions", "max_text_length", "max_answer_length"),
  *("word_boundaries", "objectives", "sentence_task", "format"),
)


def write_export(
  output: pathlib.Path,
  params: Mapping[str, Any],
  meta: Mapping[str, Any],
  *,
  vocab: pathlib.Path,
  run: model_card.RunFacts,
  official: bool = False,
) -> None:
  """Writes the folder; it appears whole or not at all.

  Args:
    output: what must not exist yet.
    params, meta: of a checkpoint.
    vocab: its vocabulary.
    run: what the card says about the training.
    official: adds the official state dict and JSON configuration.
  """
  model = recorded_model(meta.get("model", {}), path="the checkpoint")
  words, sha256 = _vocabulary(vocab, meta.get("vocab_sha256"), model)
  flat = traverse_util.flatten_dict(params, sep=".")
  facts = {
    "format": FORMAT,
    "format_version": VERSION,
    "model_type": "interbert",
    "model": dataclasses.asdict(model),
    "vocab_sha256": sha256,
    **{key: meta[key] for key in _KEPT if key in meta},
    "settings": _settings(meta.get("config")),
  }
  with whole(output) as folder:
    folder.mkdir()
    write_safetensors(folder / WEIGHTS, flat, {"format": "flax"})
    json_file.write_json(folder / CONFIG, facts)
    (folder / VOCAB).write_bytes(words)
    if official:
      state_dict = params_to_torch(params, model)
      write_safetensors(folder / OFFICIAL_WEIGHTS, state_dict, {"format": "pt"})
      json_file.write_json(folder / OFFICIAL_CONFIG, official_config(model))
    # The card has no checksum: the user fills in the licence there.
    sums = {file.name: file_sha256(file) for file in sorted(folder.iterdir())}
    write_text(folder / SUMS, "".join(f"{v}  {k}\n" for k, v in sums.items()))
    count = sum(np.size(value) for value in flat.values())
    card = model_card.render(
      model, facts, run=run, num_params=count, weights_sha256=sums[WEIGHTS]
    )
    write_text(folder / CARD, card)


def _settings(config: Any) -> dict[str, Any]:
  """Language, task and input of a run's configuration, as far as known."""
  if not isinstance(config, Mapping):
    return {}
  kept = {key: config[key] for key in ("language", "task") if key in config}
  section = config.get("input")
  if isinstance(section, Mapping):
    kept["input"] = {key: section[key] for key in _INPUT if key in section}
  return kept


def _vocabulary(
  path: pathlib.Path, recorded: str | None, model: InterBertConfig
) -> tuple[bytes, str]:
  """(content, sha256), in the form whose hash the checkpoint knows."""
  found = check_words(path, model.vocab_size, name="--vocab")
  forms, sha256 = vocab_forms(path), recorded or found
  if sha256 not in forms:
    raise CheckpointError(
      f"--vocab={path}: has sha256 {found[:12]}, the checkpoint "
      f"was trained with {sha256[:12]}; name that vocabulary"
    )
  return forms[sha256], sha256


def is_export(path: pathlib.Path) -> bool:
  """Whether a directory has our config.json."""
  try:
    facts = json_file.read_object(path / CONFIG)
  except (OSError, ValueError):
    return False
  return facts.get("format") == FORMAT


def _facts(folder: pathlib.Path) -> dict[str, Any]:
  """config.json, after the checksums of all files that are read."""
  facts = json_file.read_object(folder / CONFIG)
  if not isinstance(facts.get("model"), dict):
    raise CheckpointError(f"{folder / CONFIG}: has no object model")
  if facts.get("format_version") != VERSION:
    raise CheckpointError(
      f"{folder / CONFIG}: format_version is {facts.get('format_version')!r}, "
      f"this code reads {VERSION}; use the version that wrote it"
    )
  sums = folder / SUMS
  if sums.is_file():
    for line in sums.read_text("utf-8", "replace").splitlines():
      wanted, _, name = line.partition("  ")
      # A line must not lead out of the folder.
      if name not in (WEIGHTS, CONFIG, VOCAB) or not (folder / name).is_file():
        continue
      if (sha256 := file_sha256(folder / name)) != wanted:
        raise CheckpointError(
          f"{folder / name}: has sha256 {sha256[:12]}, {SUMS} says "
          f"{wanted[:12]}; it was changed or damaged: fetch it again"
        )
  return facts


def export_source(
  path: pathlib.Path, file: pathlib.Path, tensors: Mapping[str, np.ndarray]
) -> WeightsSource:
  """Tensors of an export under our paths; `path` is the folder or the file."""
  values = {
    current_name(name).replace(".", "/"): (name, value)
    for name, value in tensors.items()
  }
  folder = path if path.is_dir() else path.parent
  if not is_export(folder):
    return WeightsSource(
      values,
      notes=(f"no {CONFIG} of an export beside {file}: heads unchecked",),
    )
  facts = _facts(folder)
  return WeightsSource(
    values,
    vocab_sha256=facts.get("vocab_sha256"),
    model=recorded_model(facts["model"], path=folder / CONFIG),
  )


def load_export(folder: pathlib.Path) -> tuple[dict, dict]:
  """(parameters, meta), as `load_params` of the checkpoint."""
  facts = _facts(folder)
  flat = {
    current_name(name): value
    for name, value in read_weights(folder / WEIGHTS).items()
  }
  return traverse_util.unflatten_dict(flat, sep="."), facts
