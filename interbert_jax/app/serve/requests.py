"""What can be asked, as JSON."""

from collections.abc import Sequence

import pydantic

from interbert_jax.app.serve.settings import ServeSettings
from interbert_jax.app.use.topics import Wanted
from interbert_jax.contract.errors import ConfigError

_TOP = pydantic.Field(10, ge=1, le=1000, description="how many")


class Asked(pydantic.BaseModel):
  """What all requests have."""

  model_config = pydantic.ConfigDict(extra="forbid", strict=True)

  catalogue: str = pydantic.Field(
    "", description="its name; the first one by default"
  )

  def check(self, settings: ServeSettings) -> None:
    """Refuses what is longer than it may be."""
    for name in ("texts", "topics", "image_ids"):
      found = getattr(self, name, ())
      if name in type(self).model_fields and not found:
        raise ConfigError(f"{name}: is empty; wanted one or more")
      most = settings.max_texts * (16 if name == "image_ids" else 1)
      if len(found) > most:
        raise ConfigError(f"{name}: has {len(found)}; wanted at most {most}")
    for text in self._texts():
      if not text.strip():
        raise ConfigError("text: is blank; wanted words")
      if len(text) > settings.max_characters:
        raise ConfigError(
          f"text: has {len(text)} characters; wanted at most "
          f"{settings.max_characters}"
        )

  def _texts(self) -> Sequence[str]:
    return [self.text]


class Search(Asked):
  text: str
  top: int = _TOP


class Score(Asked):
  texts: list[str]
  image_ids: list[str]

  def _texts(self):
    return self.texts


class Rerank(Asked):
  text: str
  image_ids: list[str]
  top: int | None = pydantic.Field(None, ge=1)


class Topic(pydantic.BaseModel):
  model_config = pydantic.ConfigDict(extra="forbid", strict=True)

  text: str
  examples: list[str] = pydantic.Field(
    [], max_length=100, description="ids of items that suit the topic"
  )

  def wanted(self) -> Wanted:
    return Wanted(self.text, tuple(self.examples))


class Recommend(Asked):
  topics: list[Topic]
  top: int = _TOP
  example_weight: float = pydantic.Field(0.5, ge=0, le=1)

  def _texts(self):
    return [topic.text for topic in self.topics]


class Explain(Asked):
  text: str
  image_id: str
