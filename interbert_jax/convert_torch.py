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
    "--vocab",
    type=pathlib.Path,
    metavar="FILE",
    help="the vocabulary of a weights file; its sha256 is kept, so that the "
    "weights are never used with another",
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


def _say_read(source: pathlib.Path, tensors, params) -> None:
  import jax

  count = sum(leaf.size for leaf in jax.tree.leaves(params))
  print(f"read {source}: {len(tensors)} tensors, {count:,} parameters")


def _import_weights(args: argparse.Namespace) -> None:
  """Writes a checkpoint from a weights file."""
  source, output = args.input, args.output
  if args.config is None:
    raise ConfigError(
      f"--input={source} is a weights file, which does not tell the model's "
      "shape; add --config with its official JSON configuration"
    )
  if output.suffix in _WEIGHTS_SUFFIXES:
    raise CheckpointError(
      f"--output={output}: a weights file becomes a checkpoint directory; "
      f"give a path that does not end in {output.suffix}"
    )
  new_output(output)
  config = _read_config(args.config)

  from interbert_jax.checkpoints.params import save_params
  from interbert_jax.weights.official import params_from_torch
  from interbert_jax.weights.official_optimizer import (
    read_official_optimizer,
    write_optimizer,
  )
  from interbert_jax.weights.source import check_words
  from interbert_jax.weights.weights_file import read_weights

  state_dict = read_weights(source)
  try:
    params = params_from_torch(state_dict, config)
  except ValueError as error:
    raise CheckpointError(f"{source} with {args.config}: {error}") from error
  moments = args.optimizer and read_official_optimizer(args.optimizer, config)
  known = {}
  if args.vocab:
    known["vocab_sha256"] = check_words(
      args.vocab, config.vocab_size, name="--vocab"
    )
  _say_read(source, state_dict, params)
  if moments:
    steps = sorted({moment.step for moment in moments.values()})
    print(f"read {args.optimizer}: {len(moments)} tensors, updates {steps}")
  meta = {
    "model": dataclasses.asdict(config),
    "source": source.name,
    "source_sha256": file_sha256(source),
    "step": 0,
    **known,
  }
  # Made in a directory of its own, because Orbax leaves temporary siblings when
  # it fails; beside the output, because a rename stays in one file system.
  with tempfile.TemporaryDirectory(
    dir=output.parent, prefix=f".{output.name}.", suffix=".tmp"
  ) as directory:
    temporary = pathlib.Path(directory) / output.name
    save_params(temporary, params, meta)
    if moments:
      write_optimizer(temporary, moments)
    temporary.rename(output)
  print(f"wrote {output}: a checkpoint for init_from")


def _export_weights(args: argparse.Namespace) -> None:
  """Writes a safetensors file from a checkpoint, which knows its own model."""
  source, output = args.input, args.output
  for name in ("config", "optimizer", "vocab"):
    if (value := getattr(args, name)) is not None:
      raise ConfigError(
        f"--{name}={value}: only for a weights file; leave it out, the "
        f"checkpoint {source} knows its own model"
      )
  if output.suffix != ".safetensors":
    raise CheckpointError(
      f"--output={output}: a checkpoint becomes a safetensors file; give a "
      "path that ends in .safetensors"
    )
  new_output(output)

  from interbert_jax.checkpoints.params import load_params
  from interbert_jax.model.config import recorded_model
  from interbert_jax.weights.official import params_to_torch
  from interbert_jax.weights.weights_file import write_safetensors

  params, meta = load_params(source)
  model = recorded_model(meta.get("model", {}), path=source)
  try:
    state_dict = params_to_torch(params, model)
  except ValueError as error:
    raise CheckpointError(f"{source}: {error}") from error
  _say_read(source, state_dict, params)
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
  # Orbax would warn that the optimiser's state is not read, which is intended.
  logging.get_absl_logger().setLevel("ERROR")

  def run() -> None:
    if not args.input.exists():
      raise CheckpointError(
        f"--input={args.input}: no such file; check the path"
      )
    convert = _export_weights if args.input.is_dir() else _import_weights
    convert(args)

  return run_command(run)


if __name__ == "__main__":
  sys.exit(main())
