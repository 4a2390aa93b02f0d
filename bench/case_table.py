"""The table of bench/cases.py: small inputs, and what is right for each."""

import pathlib

from bench.cases import (
  Case,
  after,
  captions,
  converted,
  dimension,
  mined,
  regions,
  size,
)


def _correct(name: str, line: int, text: str):
  """A change of one line; `text` is a format of the line."""

  def change(folder: pathlib.Path):
    path = folder / name
    lines = path.read_text().splitlines()
    lines[line] = text.format(lines[line])
    path.write_text("\n".join(lines) + "\n")

  return change


def _complete(folder: pathlib.Path):
  """Gives the cut line a column of the line before it."""
  path = folder / "29-broken-line-corrected/a.tsv.2"
  lines = path.read_text().splitlines()
  [cut] = [n for n, line in enumerate(lines) if line.count("\t") < 5]
  columns = lines[cut].split("\t")
  lines[cut] = "\t".join([*columns[:4], *lines[cut - 1].split("\t")[4:]])
  path.write_text("\n".join(lines) + "\n")


SCAN, UNITER = "01-scan-row-per-caption", "05-uniter-sizes-of-coco"
NPZ, LMDB = "22-dtypes-in-npz", "20-lmdb-states"
WORDS, LINES = "17-annotation-forms", "23-caption-lines"
VG = "34-coco-and-vg-in-one-store/captions_train2017.json"
FIVE = r"\[5, 5, 5, 5\]"
KDD = {"store": [str(i) for i in range(7, 10)]}
FLICKR = {"store": ["1000092795", "10002456"]}

CASES = (
  Case(
    f"{SCAN}/dev_ims.npy",
    "4 images",
    converted(facts=regions),
    r"^4 images; \[2, 2, 2, 2\]",
  ),
  Case(
    f"{SCAN}/dev_ims.npy",
    "each with its own captions",
    lambda source, folder: captions("dev_ims.npy")(
      source.parent / "dev_caps.txt", folder
    ),
    rf"^4 images of {FIVE}",
  ),
  Case(
    "03-tsv-features-float16/f16.tsv",
    "16-d, or the dtype is named",
    converted(facts=dimension),
    "^5 images; 16-d, at most [0-9];|refused: .*float16",
  ),
  Case(
    f"{UNITER}/feat_numbb36",
    "sizes of COCO are found",
    converted("--sizes=DIR/captions_train2014.json", facts=size),
    "^3 images; 640 x 480",
  ),
  Case(
    "06-lmdb-keys-of-last-run/flickr.lmdb",
    "6 images, or the key list is named",
    converted(),
    "^6 images|refused: .*keys",
  ),
  Case(
    "07-npz-symlinked-folder/feats",
    "5 images",
    after(
      lambda *_: "",
      lambda folder: (folder / "feats/val").symlink_to("../real"),
      converted(),
    ),
    "then 5 images",
  ),
  Case("08-macos-companions/feats", "3 images", converted(), "^3 images"),
  Case(
    "08-macos-companions/train_frcnn.zip", "3 images", converted(), "^3 images"
  ),
  Case(
    "09-sidecar-changed/train_ims.npy",
    "the corrected ids are read",
    after(converted(), _correct("train_ids.txt", 1090, "im1090"), converted()),
    "^first refused, then 1100 images",
  ),
  Case(
    "10-oscar-caption-feature-tsv/train.feature.tsv",
    "3 images of 10-d, or one reason",
    converted(facts=dimension),
    "^3 images; 10-d|refused: .*(box|width)",
  ),
  Case(
    "11-vinvl-height-before-width/features.tsv",
    "3 images, or the order is named",
    converted(facts=size),
    "^3 images; 100 x 80|refused: .*height",
  ),
  Case(
    "12-tsv-header-row/a.tsv",
    "3 images, or the header is named",
    converted(),
    "^3 images|refused: .*header",
  ),
  Case(
    "13-packed-tsv/a.tsv.gz",
    "3 images, or: unpack it",
    converted(),
    "^3 images|refused: .*(gunzip|gzip -d|unpack)",
  ),
  Case(
    "13-packed-tsv/trainval_36.zip",
    "3 images, or: unpack it",
    converted(),
    "^3 images|refused: .*(unzip|unpack)",
  ),
  *(
    Case(
      f"14-padded-to-100-rows/{name}",
      "3 regions an image",
      converted(facts=regions),
      r"images; \[3, 3, 3",
    )
    for name in ("vmt", "vmt_full_boxes")
  ),
  *(
    Case(
      f"15-repeated-image/{name}.tsv",
      "refused, with a way to keep one",
      converted(),
      "refused: .*(on_repeated|truncated)",
    )
    for name in ("differs", "first_cut")
  ),
  Case(
    "16-caption-dict-dense-ids/caption_train.json",
    "9 images of 5, or ambiguous",
    captions("a.tsv"),
    r"^9 images of \[5, 5|refused: .*(ambiguous|either|two ways)",
  ),
  *(
    Case(f"{WORDS}/{name}", "2 images", captions(**FLICKR), "^2 images of")
    for name in (
      *("results_20130124.token", "results.txt", "results.csv"),
      *("flickr30k_test.json", "int_ids.jsonl"),
    )
  ),
  Case(
    f"{WORDS}/utf16.jsonl",
    "read, or the encoding is named",
    captions(**FLICKR),
    "^2 images of|refused: .*(UTF|utf)-?(16|8)",
  ),
  Case(
    f"{WORDS}/sbu-captions-all.json",
    "1 image",
    captions(),
    r"^1 images of \[1\]",
  ),
  *(
    Case(
      f"{WORDS}/{name}",
      "blank captions are named, or left out",
      captions(on_bad_caption="skip", **FLICKR),
      r"^2 images of \[1, 1\]",
    )
    for name in ("captions_train.json", "dataset_blank.json")
  ),
  Case(
    "19-lxmert-width-before-height/a.tsv",
    "the order is named",
    converted(),
    "refused: .*(height|outside)",
  ),
  *(
    Case(f"{LMDB}/{name}.lmdb", "one reason", converted(), f"refused: .*{word}")
    for name, word in {
      "nokeys": "keys|^[0-9]+ images",
      "zero": "(no images|no record|empty)",
      "five_columns": "(4|columns|boxes)",
      "empty": "(no images|no record|empty)",
      "cut": "(cut|truncated|short|damaged)",
    }.items()
  ),
  Case(
    f"{LMDB}/VCR.lmdb",
    "one reason",
    converted(),
    "refused: |^[0-9]+ images",
  ),
  Case(
    f"{NPZ}/bf16",
    "read, or the dtype is named",
    converted(facts=dimension),
    "^1 images; 8-d|refused: .*bfloat16",
  ),
  Case(f"{NPZ}/f64", "read", converted(facts=dimension), "^1 images; 8-d"),
  Case(
    f"{NPZ}/u8",
    "read, or the dtype is named",
    converted(facts=dimension),
    "^1 images; 8-d|refused: .*uint8",
  ),
  Case(
    f"{NPZ}/ids64",
    "the ids keep their value, or are named",
    converted(facts=lambda store: store.record(0).get("class_ids")),
    "4294967301|refused: .*429496730",
  ),
  Case(
    f"{NPZ}/ids_float",
    "read, or named",
    converted(),
    "^1 images|refused: .*float",
  ),
  Case(
    f"{NPZ}/more_rows",
    "3 regions, or refused",
    converted(facts=regions),
    r"^1 images; \[3\]|refused: .*(5|rows)",
  ),
  Case(
    f"{NPZ}/no_info_later",
    "2 images, or named",
    converted(),
    "^2 images|refused: .*(info|objects_id)",
  ),
  Case(
    f"{LINES}/train_frcnn.json",
    "2 images, or the format is named",
    captions(),
    "^2 images|refused: .*(line|jsonl)",
  ),
  Case(f"{LINES}/valid_texts.jsonl", "3 images", captions(**KDD), "^3 images"),
  Case(
    f"{LINES}/train_texts.jsonl",
    "two objects on a line are named",
    captions(**KDD),
    "refused: .*(:1:|line 1).*two",
  ),
  Case(
    f"{LINES}/trainx_texts.jsonl",
    "the line is named",
    captions(**KDD),
    "refused: .*(:1:|line 1)",
  ),
  *(
    Case(
      f"{LINES}/{name}_texts.jsonl",
      "read, or named",
      captions(**KDD),
      "^1 images|refused: .*jsonl:1.*image_ids",
    )
    for name in ("float", "numbers")
  ),
  *(
    Case(
      f"28-tsv-of-several-captions/captions.{end}",
      "2 images of 3",
      captions(("1", "2")),
      r"^2 images of \[3, 3\]",
    )
    for end in ("tsv", "txt")
  ),
  Case(
    "29-broken-line-corrected",
    "pieces that did not change are kept",
    after(converted(), _complete, converted()),
    "^first refused, then 200 images.*(kept|done|resum|continu)",
  ),
  Case(
    "31-hdf5-of-arrays/train36.hdf5",
    "read, or one reason",
    converted(),
    "^[0-9]+ images|refused: .*(pkl|ids|indices)",
  ),
  Case(
    "32-few-captions/zh.jsonl",
    "a hint for Chinese",
    mined,
    "analyzer",
  ),
  Case(
    VG,
    "Visual Genome's 9 is not COCO's",
    lambda path, folder: captions("coco_and_vg.tsv", on_missing="skip")(
      path, folder
    ),
    r"^3 images of \[1, 1, 1\]|refused: .*(9|COCO)",
  ),
  Case(
    "35-first-record-unusable/zero_first.tsv",
    "the line is named",
    converted(),
    "refused: .*(:1:|line 1).*(zero|0|no) boxes",
  ),
  Case(
    "35-first-record-unusable/zero_first.tsv",
    "with skip, 3 images",
    converted("--on_bad_record=skip"),
    "^3 images",
  ),
  Case(
    "40-background-column-last/probs.tsv",
    "a note, and an option",
    converted(),
    "background",
  ),
  Case(
    "captions_coco_two_uncaptioned_test.json",
    "the two images are mentioned",
    captions(),
    "2 .*(caption|text)",
  ),
  *(
    Case(
      f"{name}_id.jsonl",
      "shown escaped, or refused",
      captions(),
      r"^[^\x1b\n\ud800]*$",
    )
    for name in ("ansi", "newline", "surrogate")
  ),
)
