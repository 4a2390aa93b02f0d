"""Words of others: what may be an id, and how they are shown on a terminal."""


def escaped(text: str, *, keep: str = "\n\t") -> str:
  """As repr shows what cannot be printed: it neither moves nor colours a line.

  Args:
    text: may hold control characters, halves of surrogate pairs and the like.
    keep: of these, what stays as it is.
  """
  if text.isprintable():
    return text
  return "".join(
    c if c.isprintable() or c in keep else repr(c)[1:-1] for c in text
  )


def listed(ids: list[str] | tuple[str, ...], most: int) -> str:
  """The first ids, each on one line, with commas between."""
  return ", ".join(escaped(i, keep="") for i in ids[:most])


def id_fault(image_id: str) -> str | None:
  """Why text cannot be an id; None of one that can."""
  if not image_id.strip():
    return "found an empty id, wanted a unique one"
  if "\n" in image_id:
    return "found a line break, wanted an id on one line"
  if "\0" in image_id:
    return "found a NUL character, wanted an id without"
  try:
    image_id.encode()
  except UnicodeEncodeError as error:
    return f"not valid Unicode: {error.reason}"
  return None
