"""The conversion as an Apache Beam pipeline: one element per part.

Workers write their shards into the building directory, which all of them must
reach under the same path (a shared file system); the machine that started the
pipeline makes the store of them. The store is the same as that of
`--workers`, byte for byte, and an interrupted pipeline is resumed in the same
way.
"""

import functools

from input_pipeline.conversion.part import convert_part
from input_pipeline.conversion.plan import Plan
from interbert_jax.contract.errors import DataError


def beam_runner(options: str = ""):
  """A runner for `convert`; options are Beam's, separated by spaces."""
  try:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
  except ModuleNotFoundError:
    raise DataError(
      "Apache Beam is not installed", hint="pip install apache-beam"
    ) from None

  def run(plan: Plan, todo: list[int]):
    if not todo:
      return
    with beam.Pipeline(options=PipelineOptions(options.split())) as pipeline:
      _ = (
        pipeline
        | "parts" >> beam.Create(todo)
        | "spread" >> beam.Reshuffle()
        | "convert" >> beam.Map(functools.partial(convert_part, plan))
      )

  return run
