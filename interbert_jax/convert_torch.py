"""The command line of convert_torch: a weights file to a checkpoint and back.

It runs on a CPU and needs neither torch nor TensorFlow.
"""

import argparse
import dataclasses
import hashlib
import json
import os
import pathlib
import sys
import tempfile
from collections.abc import Sequence

from absl import logging

from interbert_jax.contract.errors import CheckpointError, ConfigError

_WEIGHTS_SUFFIXES = (".npz", ".safetensors", ".bin", ".pt", ".pth")


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog="python -m interbert_jax.convert_torch",
    description="Converts official InterBERT weights to a checkpoint, or a "
    "checkpoint to weights for the official code. The input tells which.",
    allow_abbrev=False,
  )
  parser.add_argument(
    "--input",
    required=True,
    type=pathlib.Path,
    metavar="PATH",
    help="a weights file (.npz, .safetensors, .bin, .pt, .pth), or a "
    "checkpoint's step directory, such as runs/a/checkpoints/1000",
  )
  parser.add_argument(
    "--output",
    required=True,
    type=pathlib.Path,
    metavar="PATH",
    help="what must not exist yet: the checkpoint directory, or the "
    ".safetensors file",
  )
  parser.add_argument(
    "--config",
    type=pathlib.Path,
    metavar="JSON",
    help="the official configuration that belongs to a weights file",
  )
  parser.add_argument(
    "--optimizer",
    type=pathlib.Path,
    metavar="FILE",
    help="the official optimizer_state_EPOCH.bin that belongs to it; kept in "
    "the checkpoint directory as optimizer.safetensors",
  )
  return parser


def _check_input(path: pathlib.Path) -> None:
  if not path.exists():
    raise CheckpointError(f"--input={path}: no such file; check the path")


def _check_output(path: pathlib.Path) -> None:
  if os.path.lexists(path):
    raise CheckpointError(
      f"--output={path}: exists already; remove it or give another path"
    )
  if not path.parent.is_dir():
    raise CheckpointError(
      f"--output={path}: no directory {path.parent}; create it first"
    )


def _read_config(path: pathlib.Path):
  from interbert_jax.weights.official_config import config_from_official

  try:
    return config_from_official(path)
  except ConfigError as error:
    problem = str(error).removeprefix(f"{path}: ")
    raise ConfigError(f"--config={path}: {problem}") from error
  # What a file of other things, or values of other types, can lead to.
  except (OSError, ValueError, TypeError, ArithmeticError) as error:
    raise ConfigError(
      f"--config={path}: cannot be read as the official JSON configuration: "
      f"{error}"
    ) from error


def _count(params) -> int:
  import jax

  return sum(leaf.size for leaf in jax.tree.leaves(params))


def _import_weights(
  source: pathlib.Path,
  output: pathlib.Path,
  config_path: pathlib.Path | None,
  optimizer: pathlib.Path | None,
) -> None:
  """Writes a checkpoint from a weights file."""
  if config_path is None:
    raise ConfigError(
      f"--input={source} is a weights file, which does not tell the model's "
      "shape; add --config with its official JSON configuration"
    )
  if output.suffix in _WEIGHTS_SUFFIXES:
    raise CheckpointError(
      f"--output={output}: a weights file becomes a checkpoint directory; "
      f"give a path that does not end in {output.suffix}"
    )
  _check_output(output)
  config = _read_config(config_path)

  from interbert_jax.weights.official import params_from_torch
  from interbert_jax.weights.weights_file import read_weights

  state_dict = read_weights(source)
  try:
    params = params_from_torch(state_dict, config)
  except ValueError as error:
    raise CheckpointError(f"{source} with {config_path}: {error}") from error
  from interbert_jax.weights.official_optimizer import (
    read_official_optimizer,
    write_optimizer,
  )

  moments = optimizer and read_official_optimizer(optimizer, config)
  print(f"read {source}: {len(state_dict)} tensors", end="")
  print(f", {_count(params):,} parameters")
  if moments:
    steps = sorted({found.step for found in moments.values()})
    print(f"read {optimizer}: {len(moments)} tensors, updates {steps}")
  with source.open("rb") as file:
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()

  from interbert_jax.checkpoints.params import save_params

  meta = {
    "model": dataclasses.asdict(config),
    "source": source.name,
    "source_sha256": sha256,
    "step": 0,
  }
  # A directory around it, because Orbax too leaves temporary siblings behind
  # when it fails; beside the goal, because a rename cannot change file systems.
  with tempfile.TemporaryDirectory(
    dir=output.parent, prefix=f".{output.name}.", suffix=".tmp"
  ) as directory:
    temporary = pathlib.Path(directory) / output.name
    save_params(temporary, params, meta)
    if moments:
      write_optimizer(temporary, moments)
    temporary.rename(output)
  print(f"wrote {output}: a checkpoint for init_from")


def _export_weights(
  source: pathlib.Path,
  output: pathlib.Path,
  config_path: pathlib.Path | None,
  optimizer: pathlib.Path | None,
) -> None:
  """Writes a safetensors file from a checkpoint."""
  if config_path is not None:
    raise ConfigError(
      f"--config={config_path}: only for a weights file; the checkpoint "
      f"{source} knows its own model"
    )
  if optimizer is not None:
    raise ConfigError(
      f"--optimizer={optimizer}: only for a weights file; leave it out"
    )
  if output.suffix != ".safetensors":
    raise CheckpointError(
      f"--output={output}: a checkpoint becomes a safetensors file; give a "
      "path that ends in .safetensors"
    )
  _check_output(output)

  from interbert_jax.checkpoints.params import load_params
  from interbert_jax.weights.export_folder import model_of
  from interbert_jax.weights.official import params_to_torch
  from interbert_jax.weights.weights_file import write_safetensors

  params, meta = load_params(source)
  model = model_of(meta.get("model", {}), path=source)
  try:
    state_dict = params_to_torch(params, model)
  except ValueError as error:
    raise CheckpointError(f"{source}: {error}") from error
  print(f"read {source}: {len(state_dict)} tensors", end="")
  print(f", {_count(params):,} parameters")
  metadata = {
    "format": "pt",  # names and layout are torch's
    "model": json.dumps(dataclasses.asdict(model), sort_keys=True),
    "step": str(meta.get("step", 0)),
  }
  write_safetensors(output, state_dict, metadata)
  print(f"wrote {output}: {output.stat().st_size:,} bytes")


def main(argv: Sequence[str] | None = None) -> int:
  """Returns the exit status; INTERBERT_TRACEBACK=1 shows an error's origin."""
  args = _parser().parse_args(argv)
  # Only files are rewritten: leave the accelerator to those who train on it.
  os.environ.setdefault("JAX_PLATFORMS", "cpu")
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  # Orbax warns that the optimiser's state is not read, which is the intention.
  logging.get_absl_logger().setLevel("ERROR")
  convert = _export_weights if args.input.is_dir() else _import_weights
  try:
    _check_input(args.input)
    convert(args.input, args.output, args.config, args.optimizer)
  except (ValueError, OSError) as error:
    if os.environ.get("INTERBERT_TRACEBACK"):
      raise
    print(f"error: {error}", file=sys.stderr)
    return 2
  return 0


if __name__ == "__main__":
  sys.exit(main())
