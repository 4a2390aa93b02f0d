"""The command line of convert_torch: a weights file to a checkpoint and back.

It runs on a CPU and needs neither torch nor TensorFlow.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import sys
import tempfile
from collections.abc import Sequence

from absl import logging

from interbert_jax.contract.command import run_command
from interbert_jax.contract.errors import CheckpointError, ConfigError
from interbert_jax.contract.files import file_sha256, new_output

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
  new_output(output, makes_parent=False)
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
    steps = sorted({moment.step for moment in moments.values()})
    print(f"read {optimizer}: {len(moments)} tensors, updates {steps}")

  from interbert_jax.checkpoints.params import save_params

  meta = {
    "model": dataclasses.asdict(config),
    "source": source.name,
    "source_sha256": file_sha256(source),
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
  new_output(output, makes_parent=False)

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
  """Runs the command; returns its exit status."""
  args = _parser().parse_args(argv)
  # Only files are rewritten: leave the accelerator to those who train on it.
  os.environ.setdefault("JAX_PLATFORMS", "cpu")
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  # Orbax warns that the optimiser's state is not read, which is the intention.
  logging.get_absl_logger().setLevel("ERROR")

  def run() -> None:
    if not args.input.exists():
      raise CheckpointError(
        f"--input={args.input}: no such file; check the path"
      )
    convert = _export_weights if args.input.is_dir() else _import_weights
    convert(args.input, args.output, args.config, args.optimizer)

  return run_command(run)


if __name__ == "__main__":
  sys.exit(main())
