r"""InterBERT-base, English, on precomputed region features.

  python main.py --config=configs/pretrain_en.py --workdir=runs/pretrain_en \
      --config.input.store=DIR --config.input.annotations=captions.jsonl \
      --config.input.vocab=vocab.txt
  python main.py --config=configs/pretrain_en.py:runlocal --config.input...
  python main.py --config=configs/pretrain_en.py:mixed

`:mixed` trains on three corpora at once, every example of them equally often:
Conceptual Captions, SBU and COCO under data/cc, data/sbu and data/coco; the
validation captions of COCO are evaluated on.

The paper's objectives and the official run's schedule: 15 passes over about
3 to 4 million pairs (Conceptual Captions, SBU, COCO), batch 512, rate 1e-4,
starting from random parameters or, with --config.init_from, from a checkpoint.

Input: bottom-up-attention regions (36 an image, 2048-d, 1601 classes with
background first) in a region store, captions as JSON lines, and the vocabulary
of bert-base-uncased.

Hardware: one 80 GB GPU or 8 TPU cores and up. Not run to its end yet, so there
is no score to expect; the paper's model reaches 49.2 / 77.6 / 86.0 zero-shot
image retrieval (R@1/5/10) on Flickr30K. `:runlocal` shrinks model and run to
try the data on a laptop.
"""

from configs import common


def get_config(arg: str = ""):
  config = common.base_config()
  mixed, arg = arg == "mixed", arg.replace("mixed", "")
  config.input.store = "data/en/regions"
  config.input.annotations = "data/en/captions.jsonl"
  config.input.vocab = "data/vocab/bert-base-uncased-vocab.txt"
  config.language = "en"

  config.model.size = "base"
  config.model.dtype = "bfloat16"

  if mixed:
    config.input.store = "data/coco/regions"
    config.input.annotations = "data/coco/dataset_coco.json"
    for name, file, split in (
      ("cc", "Train_GCC-training.tsv", "train"),
      ("sbu", "sbu_captions.tsv", "train"),
      ("coco", "dataset_coco.json", "train+restval"),
    ):
      config.input.corpora[name] = common.corpus(
        store=f"data/{name}/regions",
        annotations=f"data/{name}/{file}",
        split=split,
      )

  config.train.batch_size = 512
  config.train.epochs = 15.0
  config.train.dropout_rng = "hash"
  config.optim.lr = 1e-4
  config.optim.warmup_fraction = 0.1

  # Segments hide 3.0 pieces of a caption of COCO and 3.6 of one of Flickr30K,
  # boxes of COCO's photos 5.1 regions of a pair. Five standard deviations of
  # the 128 examples of a device stay below 5 and 8; mlm_dropped and mrm_dropped
  # show whether your data needs more places.
  config.task.group_size = 32
  config.task.mlm_rows = 5.0
  config.task.mrm_rows = 8.0
  return common.runlocal(config, arg)
