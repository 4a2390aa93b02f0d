"""Reads what a compiled program says of itself: its optimised HLO as text.

The cycles are the TPU compiler's own estimate for each operation. They leave
out the time of collectives, and nobody has timed them: use them to compare
programs.
"""

import re
from collections import Counter
from collections.abc import Iterator

_BYTES = {
  "pred": 1,
  "s8": 1,
  "u8": 1,
  "s16": 2,
  "u16": 2,
  "f16": 2,
  "bf16": 2,
  "s32": 4,
  "u32": 4,
  "f32": 4,
  "s64": 8,
  "u64": 8,
  "f64": 8,
}
_ARRAY = re.compile(rf"\b({'|'.join(_BYTES)})\[([\d,]*)\]")
_COLLECTIVE = re.compile(
  r"\s*(?:ROOT )?%?[\w.\-]+ = (.+?) (all-reduce|all-gather|reduce-scatter"
  r"|all-to-all|collective-permute|collective-broadcast)(?:-start)?\("
)
_CYCLES = re.compile(r'"estimated_cycles":"?(\d+)')
_NAME = re.compile(r'op_name="([^"]*)"')

# Where an operation comes from: the first pattern that its name contains.
_PARTS = {
  "interaction": "interaction_encoder",
  "text stream": "text_encoder",
  "region stream": "region_encoder",
  "text embeddings": "embed_text|text_embeddings",
  "region embeddings": "embed_regions|region_embeddings",
  "mlm head": "mlm_head|score_words",
  "region head": "region_head|region_feature_head",
  "other heads": "_head|pooler|pooled|fusion",
}
_OUTSIDE = "outside the model"  # masks, losses, optimiser


def collectives(text: str) -> dict[str, dict[str, float]]:
  """The number, arrays and megabytes of each kind of collective."""
  found: dict[str, dict[str, float]] = {}
  for line in text.splitlines():
    if match := _COLLECTIVE.match(line):
      shape, kind = match.groups()
      arrays = _ARRAY.findall(shape)
      if line.lstrip().partition(" = ")[2].startswith("((") and len(arrays) > 1:
        arrays = arrays[len(arrays) // 2 :]  # of a start: operands, results
      row = found.setdefault(kind, {"count": 0, "arrays": 0, "MB": 0.0})
      row["count"] += 1
      row["arrays"] += len(arrays)
      row["MB"] += sum(_num_bytes(*array) for array in arrays) / 1e6
  return {
    kind: row | {"MB": round(row["MB"], 6)} for kind, row in found.items()
  }


def _num_bytes(dtype: str, dims: str) -> int:
  size = _BYTES[dtype]
  for dim in filter(None, dims.split(",")):
    size *= int(dim)
  return size


def cycles_by_part(text: str) -> Counter[str]:
  """Estimated cycles of one run, by part of the model; empty without any."""
  cycles: Counter[str] = Counter()
  for line in _entry(text):
    if match := _CYCLES.search(line):
      name = _NAME.search(line)
      cycles[_part(name[1] if name else "")] += int(match[1])
  return cycles


def _part(name: str) -> str:
  for part, pattern in _PARTS.items():
    if re.search(pattern, name):
      return part
  return _OUTSIDE


def _entry(text: str) -> Iterator[str]:
  """The lines of the computation that runs; it holds the fused ones' cost."""
  inside = False
  for line in text.splitlines():
    if line.startswith("ENTRY"):
      inside = True
    elif inside and line.startswith("}"):
      return
    elif inside:
      yield line
