r"""A checkpoint as a folder to share.

  python -m interbert_jax.export --checkpoint=runs/a/checkpoints/1700 \
      --vocab=vocab.txt --output=exported

The folder holds model.safetensors, config.json, vocab.txt, a model card and
checksums; `--official` adds the weights under the official names. It starts a
run with --config.init_from=exported. Needs neither an accelerator nor
TensorFlow.
"""

import argparse
import os
import pathlib
import sys
from collections.abc import Sequence

from absl import logging

from interbert_jax.contract.command import run_command
from interbert_jax.contract.files import new_output


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog="python -m interbert_jax.export",
    description="Writes a checkpoint as a folder to share.",
    allow_abbrev=False,
  )
  for name, metavar, text in (
    ("checkpoint", "DIR", "a step directory, such as runs/a/checkpoints/1700"),
    ("vocab", "FILE", "the vocabulary that the model was trained with"),
    ("output", "DIR", "the folder to write; it must not exist yet"),
  ):
    parser.add_argument(
      f"--{name}", required=True, type=pathlib.Path, metavar=metavar, help=text
    )
  parser.add_argument(
    "--official",
    action="store_true",
    help="add official.safetensors and official.json for the official code",
  )
  parser.add_argument(
    "--noema",
    action="store_true",
    help="the parameters, not their moving average, where the run keeps one",
  )
  return parser


def _export(args: argparse.Namespace) -> None:
  new_output(args.output)

  from interbert_jax.checkpoints.params import load_params
  from interbert_jax.weights.export_folder import write_export
  from interbert_jax.weights.model_card import read_run

  ema = not args.noema and (args.checkpoint / "ema").is_dir()
  params, meta = load_params(args.checkpoint, "ema" if ema else "params")
  meta = {**meta, "ema": ema}
  workdir = args.checkpoint.absolute().parent.parent
  write_export(
    args.output,
    params,
    meta,
    vocab=args.vocab,
    run=read_run(workdir, meta.get("step", 0)),
    official=args.official,
  )
  for file in sorted(args.output.iterdir()):
    print(f"{file}: {file.stat().st_size:,} bytes")
  print(f"fill in the licence in {args.output / 'README.md'} before sharing it")


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command; returns its exit status."""
  args = _parser().parse_args(argv)
  # Only files are rewritten: leave the accelerator to those who train on it.
  os.environ.setdefault("JAX_PLATFORMS", "cpu")
  # Orbax would warn that the optimiser's state is not read, which is intended.
  logging.get_absl_logger().setLevel("ERROR")
  return run_command(lambda: _export(args))


if __name__ == "__main__":
  sys.exit(main())
