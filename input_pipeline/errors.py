"""The error of the input pipeline: bad data, with its place and its remedy."""


class DataError(ValueError):
  """Data that cannot be used; the message names file, record and field."""

  def __init__(
    self,
    problem: str,
    *,
    file: object = None,
    record: object = None,
    field: str | None = None,
    hint: str | None = None,
  ):
    where = [
      f"{name} {value}"
      for name, value in (("record", record), ("field", field))
      if value is not None
    ]
    parts = [str(file)] if file is not None else []
    parts += [", ".join(where)] if where else []
    parts += [problem]
    super().__init__(": ".join(parts) + (f" ({hint})" if hint else ""))
