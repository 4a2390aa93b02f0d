"""The keys of every task that is fine-tuned, with their meaning.

Each function turns `common.base_config()` into the base of its task: the keys
of pretraining that mean nothing there go, its own come.
"""

from collections.abc import Iterable

from ml_collections import ConfigDict

# Of `config.input`, for pretraining alone.
_PRETRAINING_INPUT = (
  "corpora",
  "word_boundaries",
  "mismatch_prob",
  "negatives",
  "hard_negative_prob",
)
# Of `config.input`, for captions alone.
_CAPTION_INPUT = (*_PRETRAINING_INPUT, "captions", "stage_dir", "shares")
# Of `config.evals`, for retrieval alone.
_RETRIEVAL_EVALS = ("retrieval_images", "pairs_per_step")


def _drop(section: ConfigDict, keys: Iterable[str]) -> None:
  for key in keys:
    del section[key]


def retrieval(config: ConfigDict) -> ConfigDict:
  """Turns the base of a configuration into one that fine-tunes for retrieval.

  A batch is train.batch_size captions, each with its candidates.
  """
  _drop(config.input, _PRETRAINING_INPUT)
  # Candidates beside each caption and its image.
  config.input.random_texts = 1  # captions of other images
  config.input.hard_texts = 1  # captions of images near to its own
  config.input.random_images = 1  # other images
  # Where near images are: python -m input_pipeline.mine_negatives
  # --kind=images; empty if hard_texts is 0.
  config.input.near_images = ""

  config.task = ConfigDict()
  config.task.name = "retrieval"  # tools/tasks/ has a file for each
  # match (two classes for each pair: InterBERT), choice (softmax over an
  # example's pairs: ViLBERT), triplet (margin: UNITER).
  config.task.loss = "match"
  config.task.margin = 0.2  # of triplets
  # Triplets of the so many texts and images that score highest just now; 0
  # for all. Wants many random_texts and random_images.
  config.task.hardest = 0

  # The sum of the six recalls on the images below.
  config.checkpoint.best_metric = "val/rsum"
  config.checkpoint.best_mode = "max"
  config.evals.retrieval_images = 100
  return config


def text(config: ConfigDict) -> ConfigDict:
  """Turns the base of a configuration into one that fine-tunes on text alone.

  The model is the text path: interaction layers and text stream, no image.
  """
  config.input = ConfigDict()
  # cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte, wnli (GLUE), tnews, afqmc
  # (CLUE), or own: your own files (docs/text_tasks.md).
  config.input.task = "sst2"
  config.input.directory = ""  # of the task's files, under their own names
  config.input.labels = ()  # of own files, by class; empty for numbers
  # Rows with a missing column, an unknown label or an empty text: error, or
  # skip and say how many.
  config.input.on_bad_row = "error"
  config.input.vocab = ""  # WordPiece vocabulary, one entry a line
  config.input.train_split = "train"  # or another of the task's files
  config.input.max_text_length = 128  # slots; the longer text is cut first

  config.task = ConfigDict()
  config.task.name = "text"  # tools/tasks/ has a file for each
  # The mean of the task's official metrics on the held-out file.
  config.checkpoint.best_metric = "val/score"
  config.checkpoint.best_mode = "max"
  _drop(config.evals, _RETRIEVAL_EVALS)
  return config


def vcr(config: ConfigDict) -> ConfigDict:
  """Turns the base of a configuration into one that fine-tunes for VCR.

  A batch is train.batch_size choices among four texts.
  """
  _drop(config.input, _CAPTION_INPUT)
  _drop(config.evals, _RETRIEVAL_EVALS)
  # input.annotations is the folder of train.jsonl, val.jsonl and test.jsonl,
  # input.store has the detected regions.
  # Region store of the annotated objects, which get places before the detected
  # regions; empty for none.
  config.input.ground_truth = ""
  # An example each for every question: answer (Q->A), rationale (QA->R).
  config.input.objectives = ("answer", "rationale")
  config.input.max_regions = 99  # slots, without the global region
  config.input.max_text_length = 80  # of a question, an answer, a rationale
  config.input.max_answer_length = 60  # of a question and an answer
  # Names for people: one a line, or a table with a column "name"; empty for
  # those of person_names.py.
  config.input.names = ""
  # Folder of VCR's images with metadata, to check some of the data against;
  # empty to leave that out.
  config.input.images = ""

  config.task = ConfigDict()
  config.task.name = "vcr"  # it has no settings

  # Of a run of one objective: val/Q->A or val/QA->R.
  config.checkpoint.best_metric = "val/Q->AR"
  config.checkpoint.best_mode = "max"
  return config


def vqa(config: ConfigDict) -> ConfigDict:
  """Turns the base of a configuration into one that fine-tunes for VQA.

  A batch is train.batch_size questions.
  """
  _drop(config.input, _CAPTION_INPUT)
  _drop(config.evals, _RETRIEVAL_EVALS)
  # input.annotations is the folder of VQA's files.
  # Answers to choose from: a JSON list, or one a line; empty for those that are
  # the best of so many questions of the training split.
  config.input.answers = ""
  config.input.min_answer_count = 9
  config.input.max_regions = 100  # slots, without the global region
  config.input.max_text_length = 24  # slots, [CLS] and [SEP] included

  config.task = ConfigDict()
  config.task.name = "vqa"  # it has no settings

  # Official accuracy.
  config.checkpoint.best_metric = "val/accuracy"
  config.checkpoint.best_mode = "max"
  return config


def snli_ve(config: ConfigDict) -> ConfigDict:
  """Turns the base of a configuration into one for visual entailment.

  A batch is train.batch_size hypotheses.
  """
  _drop(config.input, _CAPTION_INPUT)
  _drop(config.evals, _RETRIEVAL_EVALS)
  # input.annotations is the folder of the published files.
  config.input.max_regions = 100  # slots, without the global region

  config.task = ConfigDict()
  config.task.name = "snli_ve"  # the format of its files
  # How vectors of several images become one: concatenate, sum.
  config.task.join = "concatenate"

  config.evals.split = "dev"  # as the files call it
  # Of statements.
  config.checkpoint.best_metric = "dev/accuracy"
  config.checkpoint.best_mode = "max"
  return config


def nlvr2(config: ConfigDict) -> ConfigDict:
  """The same for sentences about two images."""
  config = snli_ve(config)
  config.task.name = "nlvr2"  # the format of its files
  return config
