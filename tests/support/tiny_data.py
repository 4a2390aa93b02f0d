"""A small store, captions and vocabulary for the data tests."""

import json
import pathlib

import numpy as np

E, C = 6, 5
WORDS = "a dog cat man red on runs sits the".split()
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "##s", "un"]
# A shape of InterBERT that compiles as fast as any.
TINY_MODEL = {
  "hidden_size": 16,
  "num_interaction_layers": 1,
  "num_text_layers": 1,
  "num_region_layers": 1,
  "num_heads": 2,
  "region_num_heads": 2,
  "mlp_dim": 16,
  "region_mlp_dim": 16,
  "pooler_dim": 16,
}


def make_record(image_id, *, regions=3, seed=0, class_probs=True):
  rng = np.random.default_rng(seed)
  corner = rng.uniform(0, 50, (regions, 2))
  size = rng.uniform(5, 40, (regions, 2))
  record = {
    "image_id": image_id,
    "width": 100 + seed,
    "height": 90,
    "features": rng.normal(size=(regions, E)).astype(np.float16),
    "boxes": np.concatenate([corner, corner + size], 1).astype(np.float32),
  }
  if class_probs:
    probs = rng.dirichlet(np.ones(C), regions)
    record["class_probs"] = probs.astype(np.float16)
  return record


def make_records(count, **options):
  """Images im0, im1, ... with 1 to 7 regions."""
  return [
    make_record(f"im{i}", regions=1 + i % 7, seed=i, **options)
    for i in range(count)
  ]


def write_tiny_store(directory, records, *, num_classes=C, **options):
  from input_pipeline.store.store_writer import write_store

  return write_store(
    directory,
    records,
    feature_dim=E,
    num_classes=num_classes,
    source="random",
    extractor="none",
    **options,
  )


def write_vocab(path, tokens=VOCAB):
  path.write_bytes("".join(f"{token}\n" for token in tokens).encode())
  return path


def write_lines(path, images):
  lines = [json.dumps(image, ensure_ascii=False) for image in images]
  path.write_bytes("".join(f"{line}\n" for line in lines).encode())
  return path


def caption_line(image_id, *captions, split="train"):
  return {"image_id": image_id, "split": split, "captions": list(captions)}


def write_captions(path, *, train=8, val=3):
  """Images from im0 on with 1 to 3 captions of 1 to 5 words."""
  rng = np.random.default_rng(0)
  images = []
  for i in range(train + val):
    captions = [
      " ".join(rng.choice(WORDS, rng.integers(1, 6))) for _ in range(1 + i % 3)
    ]
    split = "train" if i < train else "val"
    images.append(caption_line(f"im{i}", *captions, split=split))
  return write_lines(path, images)


def caption_files(root, **store_options):
  """Captions of 11 images with their store and vocabulary; data keywords."""
  write_tiny_store(root / "regions", make_records(11), **store_options)
  return {
    "store": root / "regions",
    "annotations": write_captions(root / "captions.jsonl"),
    "vocab": write_vocab(root / "vocab.txt"),
    "split": "train",
    "seed": 3,
    "max_regions": 4,
    "max_text_length": 6,
  }


def edit_manifest(store, change):
  """Applies a function to a store's manifest, which stays a sound one."""
  from input_pipeline.store.manifest import manifest_fingerprint

  path = store / "manifest.json"
  manifest = json.loads(path.read_text())
  change(manifest)
  manifest["fingerprint"] = manifest_fingerprint(manifest)
  path.write_text(json.dumps(manifest))


def flip(path, position=-1):
  """Changes a bit of a file."""
  data = bytearray(path.read_bytes())
  data[position] ^= 1
  path.write_bytes(data)


# What a run tells data beside its settings.
_FACTS = ("split", "seed", "host", "engine", "format", "max_images")


def build(name, *, class_probs=True, **options):
  """The data of a task: `options` are its settings, and what a run tells it."""
  from input_pipeline.tasks import (
    mixture,
    pretrain,
    retrieval,
    settings,
    statements,
    text,
    vcr,
    vqa,
  )
  from interbert_jax.contract.settings import read

  kind, data = {
    "pretrain": (settings.PretrainInput, pretrain.PretrainData),
    "mixture": (settings.PretrainInput, mixture.Mixture),
    "candidates": (settings.RetrievalInput, retrieval.CandidateData),
    "retrieval": (settings.PretrainInput, retrieval.retrieval_set),
    "text": (settings.TextInput, text.SentenceData),
    "vcr": (settings.VcrInput, vcr.VcrData),
    "vqa": (settings.VqaInput, vqa.VqaData),
    "statements": (settings.StatementInput, statements.StatementData),
  }[name]
  facts = {key: options.pop(key) for key in _FACTS if key in options}
  if name in ("pretrain", "mixture"):
    facts["class_probs"] = class_probs
    facts["whole_words"] = "word_boundaries" in options
  if name != "retrieval":
    facts.setdefault("seed", 0)
  if name == "mixture":
    options |= {key: "unused" for key in ("store", "annotations")}
    facts.pop("split", None)  # each corpus has its own
  elif name == "candidates":
    options = {"hard_texts": 0, **options}
  if name != "text":
    options = {"cache_bytes": 0, **options}
  plain = {
    k: str(v) if isinstance(v, pathlib.Path) else v for k, v in options.items()
  }
  return data(read(kind, plain), **facts)
