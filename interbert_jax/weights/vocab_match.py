"""Whether weights and data mean the same words by the same ids."""

import hashlib
import pathlib

from interbert_jax.contract.errors import CheckpointError, ConfigError


def vocab_hashes(path: pathlib.Path) -> tuple[str, ...]:
  """sha256 of the file, then without and with one final newline."""
  data = path.read_bytes()
  bare = data.removesuffix(b"\n")
  return tuple(
    hashlib.sha256(form).hexdigest() for form in (data, bare, bare + b"\n")
  )


def check_vocabulary(
  path: pathlib.Path,
  *,
  wanted: str | None,
  recorded: str | None,
  file: str,
) -> str | None:
  """Refuses weights of another vocabulary.

  Args:
    path: the weights, a file or a directory.
    wanted: sha256 of the vocabulary in use.
    recorded: sha256 that was kept with the weights.
    file: the vocabulary of the weights, or empty: then the recorded hash
      counts, and where there is none, a vocab.txt beside the weights.

  Returns:
    What could not be checked, or None.
  """
  if file:
    named = pathlib.Path(file)
    if not named.is_file():
      raise ConfigError(f"init.vocab={file}: no such file; check the path")
    name, found = file, vocab_hashes(named)
  elif recorded:
    name, found = f"the vocabulary of {path}", (recorded,)
  else:
    beside = (path if path.is_dir() else path.parent) / "vocab.txt"
    if not beside.is_file():
      return (
        f"no vocab.txt beside {path} and no hash in it: only the number of "
        "words was compared; name its vocabulary with init.vocab"
      )
    name, found = str(beside), vocab_hashes(beside)
  if not wanted:
    return "the vocabulary in use has no known hash: only its size was compared"
  if wanted not in found:
    raise CheckpointError(
      f"{name} has sha256 {found[0][:12]}, input.vocab has {wanted[:12]}: "
      "the same ids would be other words; train with the vocabulary of the "
      "weights, or start from weights of yours"
    )
  return None
