"""Whether a result is of the form that docs/result.schema.json describes."""

import json
import pathlib

import jsonschema

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "docs/result.schema.json").read_text("utf-8"))
_DEFINITION = {"text_average": "text_average", "retention": "retention"}


def read_result(path) -> dict:
  """The result in a file, once it is seen to fit the schema."""
  result = json.loads(pathlib.Path(path).read_text("utf-8"))
  check_result(result)
  return result


def check_result(result: dict) -> None:
  jsonschema.validators.validator_for(SCHEMA).check_schema(SCHEMA)
  # Of one form, so that the message names the field and not all forms.
  form = _DEFINITION.get(result.get("task"), "evaluation")
  jsonschema.validate(
    result,
    {"$ref": f"#/$defs/{form}", "$defs": SCHEMA["$defs"]},
    format_checker=jsonschema.FormatChecker(),
  )
  jsonschema.validate(result, SCHEMA)
