"""Files out of packages, with stand-ins for pip and npm: nothing is fetched."""

import dataclasses
import hashlib
import io
import shutil
import subprocess
import tarfile
import zipfile

import pytest

from tests.support.refusals import refused
from tools import packages as packages_lib
from tools import weights
from tools.packages import Member, Package, PackageError
from tools.sample_data import openmoji

_CONTENT = b"[PAD]\n[UNK]\n"
_INIT = b"raise SystemExit"


def _sha256(data):
  return hashlib.sha256(data).hexdigest()


def _package(name="tiny", registry="pip", **member):
  folder = "package" if registry == "npm" else name
  member = {
    "path": f"{folder}/data/vocab.txt",
    "sha256": _sha256(_CONTENT),
    **member,
  }
  return Package(
    name=name,
    version="1.2",
    megabytes=0.5,
    licence="MIT",
    purpose="a vocabulary",
    members=(Member(f"{name}_vocab", **member),),
    registry=registry,
  )


NPM = {"name": "@some/tiny", "registry": "npm"}


class Registry:
  """Writes archives as pip and npm do, and counts them; some names fail."""

  def __init__(self, fails=()):
    self.calls, self.fails = [], fails

  def __call__(self, package, folder):
    self.calls.append(package.name)
    if package.name in self.fails:
      raise PackageError("ERROR: no route to host")
    if package.registry == "npm":
      return self._tarball(folder / "some-tiny-1.2.tgz")
    name = package.name.replace("-", "_")
    wheel = folder / f"{name}-1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
      archive.writestr(f"{package.name}/data/vocab.txt", _CONTENT)
      archive.writestr(f"{package.name}/__init__.py", _INIT)
    return wheel

  def _tarball(self, path):
    with tarfile.open(path, "w:gz") as archive:
      for name in ("../../outside.txt", "package/other.js"):
        info = tarfile.TarInfo(name)
        info.size = 4
        archive.addfile(info, io.BytesIO(b"evil"))
      info = tarfile.TarInfo("package/data/vocab.txt")
      info.size = len(_CONTENT)
      archive.addfile(info, io.BytesIO(_CONTENT))
    return path


def _fetch(packages, cache, download=None, say=str, **options):
  return packages_lib.fetch_packages(
    packages, cache=cache, download=download or Registry(), say=say, **options
  )


def _files(folder):
  return sorted(
    str(path.relative_to(folder))
    for path in folder.rglob("*")
    if path.is_file()
  )


def test_files_are_fetched_once_and_the_rest_is_dropped(tmp_path):
  registry, lines = Registry(), []
  cache = tmp_path / "a/b"
  wanted = (_package(), _package("other"), _package(**NPM))
  for _ in range(2):
    files = _fetch(wanted, cache, registry, say=lines.append)
  # Not again the second time.
  assert sorted(registry.calls) == ["@some/tiny", "other", "tiny"]
  for name in registry.calls:
    assert files[f"{name}_vocab"].read_bytes() == _CONTENT
  assert _files(tmp_path) == [
    "a/b/packages/other-1.2/vocab.txt",
    "a/b/packages/some-tiny-1.2/vocab.txt",
    "a/b/packages/tiny-1.2/vocab.txt",
  ]
  assert len(list((cache / "packages").iterdir())) == 3
  kinds = ("package tiny", "package other", "npm package @some/tiny")
  assert lines == [
    f"Downloading a vocabulary: {kind} 1.2, 0.5 MB, licence MIT"
    for kind in kinds
  ]
  assert packages_lib.find_missing(wanted, cache=cache) == []


def test_a_damaged_file_is_fetched_again(tmp_path):
  registry = Registry()
  files = _fetch([_package()], tmp_path, registry)
  files["tiny_vocab"].write_bytes(_CONTENT[:-1])
  files = _fetch([_package()], tmp_path, registry)
  assert files["tiny_vocab"].read_bytes() == _CONTENT
  assert len(registry.calls) == 2


@pytest.mark.parametrize("source", [{}, NPM], ids=["pip", "npm"])
@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"sha256": "0" * 64}, "data/vocab.txt has sha256"),
    ({"size": 13}, "has 12 bytes, wanted 13"),
    ({"path": "tiny/absent"}, "has no file tiny/absent"),
  ],
)
def test_other_files_are_refused_and_nothing_stays(
  tmp_path, source, changes, message
):
  with pytest.raises(PackageError, match=message):
    _fetch([_package(**source, **changes)], tmp_path)
  assert not list((tmp_path / "packages").iterdir())


def test_a_cut_tarball_is_no_traceback(tmp_path):
  def cut(package, folder):
    path = Registry()(package, folder)
    path.write_bytes(path.read_bytes()[:60])
    return path

  with pytest.raises(PackageError, match="could not fetch"):
    _fetch([_package(**NPM)], tmp_path, cut)


def test_failure_says_what_was_wanted_and_what_works_without(tmp_path):
  with pytest.raises(PackageError) as error:
    _fetch(
      [_package("tiny"), _package("other")],
      tmp_path,
      Registry(fails=("tiny",)),
      hint=openmoji.HINT,
    )
  message = str(error.value)
  assert "a vocabulary: package tiny 1.2, 0.5 MB, licence MIT" in message
  assert "no route to host" in message
  assert "--mode=shapes" in message
  assert "package other" not in message
  # What did arrive is kept for the next attempt.
  assert _files(tmp_path) == ["packages/other-1.2/vocab.txt"]


@pytest.mark.parametrize(
  ("source", "flags", "said", "message"),
  [
    (
      {},
      ("--no-deps", "tiny==1.2"),
      "WARNING: retry\nERROR: No matching distribution\n",
      "^ERROR: No matching distribution",
    ),
    (
      NPM,
      ("/bin/npm", "pack", "@some/tiny@1.2", "--ignore-scripts"),
      "npm warn x\nnpm error network unreachable\n",
      "^npm error network unreachable",
    ),
  ],
  ids=["pip", "npm"],
)
def test_pip_and_npm_are_asked(
  tmp_path, monkeypatch, source, flags, said, message
):
  package = _package(**source)
  monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")

  def ask(run):
    monkeypatch.setattr(subprocess, "run", run)
    return packages_lib.download_package(package, tmp_path)

  def hang(command, **options):
    raise subprocess.TimeoutExpired(command, options["timeout"])

  def fail(command, **options):
    assert set(flags) <= set(command)
    return subprocess.CompletedProcess(command, 1, "", said)

  def succeed(command, **options):
    Registry()(package, tmp_path)
    return subprocess.CompletedProcess(command, 0, "", "")

  with pytest.raises(PackageError, match="no answer in 900 s"):
    ask(hang)
  with pytest.raises(PackageError, match=message):
    ask(fail)
  assert ask(succeed).name in _files(tmp_path)


def test_without_npm_it_says_what_to_do(tmp_path, monkeypatch):
  monkeypatch.setattr(shutil, "which", lambda name: None)
  with refused(
    "not installed",
    "npm pack @some/tiny@1.2",
    "--packages=",
    error=PackageError,
  ):
    packages_lib.download_package(_package(**NPM), tmp_path)


def test_the_cache_follows_the_environment(tmp_path, monkeypatch):
  monkeypatch.setenv("INTERBERT_CACHE", str(tmp_path))
  assert packages_lib.default_cache() == tmp_path
  monkeypatch.delenv("INTERBERT_CACHE")
  monkeypatch.setenv("HOME", str(tmp_path / "home"))
  assert packages_lib.default_cache() == tmp_path / "home/.cache/interbert_jax"


def test_every_pin_is_complete():
  pinned = (*openmoji.PACKAGES, weights.DETECTOR)
  keys = [m.key for p in pinned for m in p.members]
  assert sorted(keys) == [
    "detector",
    "detector_licence",
    "detector_weights",
    "encoder",
    "font",
    "names_en",
    "names_zh",
    "vocab_en",
    "vocab_zh",
  ]
  for package in pinned:
    assert package.licence and package.megabytes > 0
    assert all(len(m.sha256) == 64 for m in package.members)


def test_members_of_one_package_are_fetched_one_without_the_other(tmp_path):
  """The vocabulary is wanted here, the weights there: both stay."""
  first = _package("tiny")
  member = Member("init", "tiny/__init__.py", _sha256(_INIT))
  second = dataclasses.replace(first, members=(member,))
  for package in (first, second, first):
    _fetch([package], tmp_path, registry := Registry())
  assert registry.calls == []  # the first one is still there
  assert _files(tmp_path) == [
    "packages/tiny-1.2/__init__.py",
    "packages/tiny-1.2/vocab.txt",
  ]


def test_packages_may_come_from_a_folder(tmp_path):
  both = [_package("tiny-words"), _package(**NPM)]
  folder = tmp_path / "brought"
  folder.mkdir()
  find = packages_lib.find_in(folder)
  with refused(
    "no file tiny_words-1.2-*.whl in",
    "no file some-tiny-1.2.tgz in",
    error=PackageError,
  ):
    _fetch(both, tmp_path, find)
  brought = [Registry()(package, folder) for package in both]
  files = _fetch(both, tmp_path, find)
  assert files["tiny-words_vocab"].read_bytes() == _CONTENT
  assert all(path.exists() for path in brought)
