"""Fuzzes the readers of foreign files for as long as one likes.

  pip install atheris
  python -m bench.fuzz --seconds=120           # every reader in turn
  python -m bench.fuzz --target=pickle --seconds=600

The suite does a little of the same (tests/runs/test_fuzz.py, whose targets
these are). A finding is printed with its bytes in base64, and ends the program
with status 1; put it into a test of the reader. Coverage guides the fuzzer
through our own modules; the address space is limited, so that a reader that
asks for more memory than ROOM is a finding too.
"""

import base64
import pathlib
import resource
import subprocess
import sys
import tempfile
import traceback

from bench.measuring import ROOT, make_parser

ROOM = 4 << 30  # bytes of address space beyond what the imports take


def _limit_memory():
  with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
  _, most = resource.getrlimit(resource.RLIMIT_AS)
  resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, most))


def fuzz_one(name: str, seconds: int):
  """Fuzzes a reader in this process, which atheris ends."""
  import atheris

  with atheris.instrument_imports(include=["input_pipeline", "interbert_jax"]):
    from tests.support.fuzz_targets import targets
  target = targets()[name]
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    corpus, work = root / "corpus", root / "work"
    corpus.mkdir()
    work.mkdir()
    for number, seed in enumerate(target.seeds):
      (corpus / str(number)).write_bytes(seed)
    _limit_memory()

    def once(data: bytes):
      try:
        target.read(data, work)
      except target.errors:
        pass
      except BaseException:
        print(f"FOUND in {name}: {base64.b64encode(data).decode()}")
        traceback.print_exc()
        raise

    arguments = [
      *(sys.argv[0], str(corpus), f"-max_total_time={seconds}"),
      *("-timeout=20", "-rss_limit_mb=6000", "-print_final_stats=1"),
      *("-verbosity=0", f"-artifact_prefix={root}/", "-max_len=65536"),
    ]
    atheris.Setup(arguments, once)
    atheris.Fuzz()


def main() -> int:
  parser = make_parser(__doc__, output=False, seconds=60)
  parser.add_argument("--target", default="", help="a reader; all without")
  args = parser.parse_args()
  try:
    import atheris  # noqa: F401
  except ModuleNotFoundError:
    print("error: atheris is not installed: pip install atheris")
    return 2
  if args.target:
    fuzz_one(args.target, args.seconds)
    return 0
  from tests.support.fuzz_targets import targets

  names, failed = list(targets()), []
  for name in names:
    share = max(1, args.seconds // len(names))
    done = subprocess.run(  # nosec B603 # this script
      [sys.executable, "-m", "bench.fuzz"]
      + [f"--target={name}", f"--seconds={share}"],
      cwd=ROOT,
      capture_output=True,
      text=True,
    )
    lines = (done.stdout + done.stderr).splitlines()
    runs = [x.split()[-1] for x in lines if "number_of_executed_units" in x]
    print(f"{name}: {runs[0] if runs else '?'} runs, status {done.returncode}")
    if done.returncode:
      failed.append(name)
      print("\n".join(lines[-30:]))
  print(f"{len(names)} readers, {len(failed)} with findings {failed}")
  return int(bool(failed))


if __name__ == "__main__":
  sys.exit(main())
