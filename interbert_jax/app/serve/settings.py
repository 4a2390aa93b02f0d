"""What the service can be told; each field is a flag."""

import dataclasses
import ipaddress
import pathlib
from collections.abc import Iterator

from interbert_jax.contract.settings import Settings, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServeSettings(Settings):
  """`interbert serve`."""

  model: str = setting(
    dataclasses.MISSING, "A run's workdir, a step of one, or an export."
  )
  catalogue: str = setting(
    "",
    "Region stores to choose from: DIR, or NAME=DIR,NAME=DIR; by default the "
    "run's own.",
  )
  images: str = setting(
    "",
    "Folders of pictures named by image id: DIR, or NAME=DIR,NAME=DIR; by "
    "default the folder images beside a store, where there is one.",
  )
  index: str = setting(
    "",
    "Indexes of the catalogues (interbert index), DIR or NAME=DIR,NAME=DIR: "
    "searches score only a shortlist.",
  )
  shortlist: int = setting(100, "Images of a shortlist.", low=1)
  host: str = setting("127.0.0.1", "Address to listen at; 0.0.0.0 for all.")
  port: int = setting(8000, "Port to listen at; 0 for any.", low=0, high=65535)
  token: str = setting(
    "", "What a request must send as 'Authorization: Bearer TOKEN'."
  )
  max_batch: int = setting(
    0, "Searches computed at once; 0 for 1 on CPUs and 16 elsewhere.", low=0
  )
  max_waiting: int = setting(
    64, "Requests that may wait; others are told to come again.", low=1
  )
  seconds: float = setting(30.0, "Time for one request.", above=0)
  max_bytes: int = setting(8 << 20, "Size of a request.", low=1024)
  max_texts: int = setting(64, "Texts, topics or images of a request.", low=1)
  max_characters: int = setting(2000, "Length of a text.", low=1)
  reload_every: float = setting(
    60.0,
    "Seconds between looks for a new checkpoint of a run; 0 for never.",
    low=0,
  )

  def check(self) -> Iterator[str]:
    if self.token != self.token.strip() or not self.token.isascii():
      yield "token has spaces around it or is not ASCII; wanted plain letters"
    for name in ("catalogue", "images", "index"):
      names = [key for key, _ in named(getattr(self, name))]
      if len(set(names)) < len(names):
        yield f"{name} is {getattr(self, name)!r}; wanted each name once"

  @property
  def is_local(self) -> bool:
    """Whether nobody on another machine can reach it."""
    try:
      return ipaddress.ip_address(self.host).is_loopback
    except ValueError:
      return self.host == "localhost"


def named(text: str) -> list[tuple[str, pathlib.Path]]:
  """(name, directory) of DIR or NAME=DIR,NAME=DIR."""
  pairs = []
  for part in filter(None, text.split(",")):
    name, equals, path = part.partition("=")
    pairs.append(
      (name, pathlib.Path(path)) if equals else ("", pathlib.Path(part))
    )
  return pairs
