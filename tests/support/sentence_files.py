"""Small files in the published layouts of GLUE and CLUE, for the tests."""

import pathlib

PAD = "x"  # in columns that nothing reads

# Task -> columns of the training file, the label's and the texts' among them.
COLUMNS = {
  "sst2": "sentence label",
  "mrpc": "Quality|#1 ID|#2 ID|#1 String|#2 String",
  "stsb": "index genre filename year old_index source1 source2 sentence1 "
  "sentence2 score",
  "qqp": "id qid1 qid2 question1 question2 is_duplicate",
  "mnli": "index promptID pairID genre sentence1_binary_parse "
  "sentence2_binary_parse sentence1_parse sentence2_parse sentence1 sentence2 "
  "label1 gold_label",
  "qnli": "index question sentence label",
  "rte": "index sentence1 sentence2 label",
  "wnli": "index sentence1 sentence2 label",
}
LABELS = {"label", "Quality", "score", "is_duplicate", "gold_label", "label1"}


def columns(task: str, *, test: bool = False) -> list[str]:
  names = COLUMNS[task]
  found = names.split("|") if "|" in names else names.split()
  if test:
    found = [name for name in found if name not in LABELS]
    if found[0] not in ("index", "id"):
      found = ["index", *found]
  return found


def write_tsv(path: pathlib.Path, header, rows) -> pathlib.Path:
  """Rows are dicts; columns that they lack hold PAD."""
  lines = ["\t".join(header)] if header else []
  for row in rows:
    names = header or ("source", "label", "judgement", "sentence")
    lines.append("\t".join(str(row.get(name, PAD)) for name in names))
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes("".join(f"{line}\n" for line in lines).encode())
  return path
