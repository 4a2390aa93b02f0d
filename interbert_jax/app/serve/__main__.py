"""Answers questions about a catalogue over HTTP, with a page to ask on.

  interbert serve --model=runs/quickstart_openmoji

docs/serve.md has the requests.
"""

import signal
import sys

from interbert_jax.app.serve.settings import ServeSettings
from interbert_jax.contract.command import run_command
from interbert_jax.contract.errors import ConfigError
from interbert_jax.contract.flags import parse_flags


def _serve(settings: ServeSettings) -> None:
  try:
    import uvicorn

    from interbert_jax.app.serve.server import make_app
  except ImportError as error:
    raise ConfigError(
      f"{error.name} is not installed; pip install 'interbert-jax[serve]', or "
      "in a clone: pip install '.[serve]'"
    ) from None
  from interbert_jax.app.command_line import keep_compiled
  from interbert_jax.app.serve.service import Service

  keep_compiled()
  print(f"loading {settings.model} ...", file=sys.stderr)
  service = Service(settings)
  for name, shelf in service.now.shelves.items():
    pictures = f"pictures in {shelf.images}" if shelf.images else "no pictures"
    print(
      f"{name}: {len(shelf.catalogue):,} images, {pictures}", file=sys.stderr
    )
  config = uvicorn.Config(
    make_app(service, settings),
    host=settings.host,
    port=settings.port,
    log_level="warning",
    access_log=False,
    server_header=False,
    timeout_graceful_shutdown=int(settings.seconds) + 1,
  )
  # Once it has answered all that came before, uvicorn raises the signal again.
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

  class Server(uvicorn.Server):
    async def startup(self, sockets=None):
      await super().startup(sockets)
      if self.started:
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        host = f"[{host}]" if ":" in host else host
        print(f"http://{host}:{port}/  (Ctrl-C ends it)", flush=True)

  Server(config).run()


def main(arguments: list[str] | None = None) -> int:
  """Runs the command; returns its exit status."""
  (settings,) = parse_flags(arguments, ServeSettings, description=__doc__)
  return run_command(lambda: _serve(settings))


if __name__ == "__main__":
  sys.exit(main())
