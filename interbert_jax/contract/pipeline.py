"""Parts of a work as elements of an Apache Beam pipeline.

A part writes its own file, under a path that all workers reach, and says
nothing; a part that is there is not asked for again. So an interrupted pipeline
goes on, here or on a cluster, and the machine that started it joins the parts.
"""

from collections.abc import Callable, Sequence
from typing import Any

from interbert_jax.contract.errors import import_optional

ABOUT = (
  "Run as an Apache Beam pipeline with these options, such as "
  "--beam=--runner=FlinkRunner."
)


def spelled(arguments: Sequence[str]) -> list[str]:
  """A command line on which --beam alone stands for no options."""
  return ["--beam=" if flag == "--beam" else flag for flag in arguments]


def run_with_beam(
  function: Callable[[int], Any], parts: Sequence[int], options: str = ""
) -> None:
  """Calls the function for each part, wherever Beam's runner has workers.

  Args:
    function: can be pickled.
    options: of Beam, separated by spaces.
  """
  beam = import_optional("apache_beam", package="apache-beam")
  from apache_beam.options.pipeline_options import PipelineOptions

  if not parts:
    return
  with beam.Pipeline(options=PipelineOptions(options.split())) as pipeline:
    _ = (
      pipeline
      | "parts" >> beam.Create(list(parts))
      | "spread" >> beam.Reshuffle()
      | "work" >> beam.Map(function)
    )
