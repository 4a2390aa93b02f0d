"""What is made of finished scenes and captions: the tasks' own files."""

from collections.abc import Callable, Mapping
from pathlib import Path

from tools.sample_data.questions import add_questions, has_questions
from tools.sample_data.ranking_files import add_ranking_files
from tools.sample_data.sentences import FOLDER, add_sentences
from tools.sample_data.sources import Source


def add_missing(
  folder: Path,
  mark: Mapping[str, object],
  load_source: Callable[[], Source],
) -> list[str]:
  """Writes what is not there yet; returns its names.

  A folder of an earlier version gets it too, and nothing else in it changes.

  Args:
    folder: of sample data, with images, region store and captions.
    mark: what its sample.json says.
    load_source: what drew it; only called where questions are missing.
  """
  added = list(add_ranking_files(folder, mark))
  if add_sentences(folder, mark):
    added.append(FOLDER)
  if not has_questions(folder):
    add_questions(folder, load_source(), mark=mark)
    added.append("questions")
  return added
