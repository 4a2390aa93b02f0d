"""What an interrupted conversion keeps, and what it does again."""

import functools
import subprocess
from unittest import mock

import numpy as np
import pytest

from input_pipeline.conversion import part as parts
from input_pipeline.conversion import plan as plan_lib
from input_pipeline.conversion import run
from input_pipeline.conversion.run import convert
from input_pipeline.convert import main
from input_pipeline.formats import directory
from input_pipeline.formats.base import count_parts
from input_pipeline.formats.registry import find_format
from input_pipeline.store.region_store import RegionStore
from interbert_jax.contract.errors import DataError
from tests.support.corpus import make_image
from tests.support.format_writers import butd_tsv_6, mmf_npy, tern_npz
from tests.support.seed_format import FORMAT, converted, write_seeds


def interrupt(source, tmp_path, *, moment="_finish", format=FORMAT):
  """A conversion that is killed as it comes to this function of run.py."""
  with (
    mock.patch.object(run, moment, side_effect=KeyboardInterrupt),
    pytest.raises(KeyboardInterrupt),
  ):
    convert(source, format, tmp_path / "store")
  assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("moment", ["finish_store", "publish"])
def test_interruption_at_the_end(source, tmp_path, moment):
  interrupt(source, tmp_path, moment=moment)
  converted(source, tmp_path)[1].verify()


def test_a_half_written_part_is_done_again(source, tmp_path):
  interrupt(source, tmp_path)
  part = tmp_path / ".store.unfinished-convert/part-00001"
  part.write_bytes(part.read_bytes()[:100])
  converted(source, tmp_path)[1].verify()


def test_another_conversion_is_not_mixed_in(source, tmp_path):
  interrupt(source, tmp_path)
  with pytest.raises(DataError, match="with another options .*--restart"):
    converted(source, tmp_path, order="stored")
  _, store = converted(source, tmp_path, order="stored", restart=True)
  assert store.manifest["region_order"] == "as stored"


def test_parts_of_a_changed_file_are_done_again(source, tmp_path):
  interrupt(source, tmp_path)
  write_seeds(source, [f"new{i}" for i in range(9)])
  _, store = converted(source, tmp_path)
  assert store.image_ids == tuple(f"new{i}" for i in range(9))


def test_a_corrected_piece_alone_is_done_again(tmp_path, capsys):
  """Of four pieces one is cut; ids beside a file count as well."""
  corpus = [make_image(f"im{i}", seed=i) for i in range(8)]
  folder = tmp_path / "pieces"
  folder.mkdir()
  for piece in range(4):
    butd_tsv_6(corpus[2 * piece : 2 * piece + 2], tmp_path)
    (tmp_path / "trainval.tsv").rename(folder / f"a.tsv.{piece}")
  broken = folder / "a.tsv.2"
  whole = broken.read_bytes()
  broken.write_bytes(whole[:-200])
  reader, _ = find_format(folder)
  with pytest.raises(DataError, match="tsv.2"):
    convert(folder, reader, tmp_path / "store")
  broken.write_bytes(whole)
  capsys.readouterr()
  with mock.patch.object(
    parts, "convert_part", wraps=parts.convert_part
  ) as spy:
    convert(folder, reader, tmp_path / "store")
  assert sorted(call.args[1] for call in spy.call_args_list) == [2, 3]
  assert "2 of 4 parts are kept" in capsys.readouterr().err
  assert len(RegionStore(tmp_path / "store")) == 8


def test_changed_ids_beside_a_file_are_read_again(tmp_path):
  np.save(tmp_path / "a_ims.npy", np.random.rand(3, 2, 4).astype("f4"))
  ids = tmp_path / "a_ids.txt"
  ids.write_text("x\ny\nx\n")
  reader, _ = find_format(tmp_path / "a_ims.npy")
  with pytest.raises(DataError, match="other regions .*--on_repeated=first"):
    convert(tmp_path / "a_ims.npy", reader, tmp_path / "store")
  ids.write_text("x\ny\nz\n")
  convert(tmp_path / "a_ims.npy", reader, tmp_path / "store")
  assert RegionStore(tmp_path / "store").image_ids == ("x", "y", "z")


def test_the_first_of_a_repeated_id_is_kept_if_asked(tmp_path):
  recipes = [{"id": "a", "seed": 0}, {"id": "b", "seed": 1}]
  source = write_seeds(tmp_path / "a.seeds", [*recipes, {"id": "a", "seed": 2}])
  with pytest.raises(DataError, match="--on_repeated=first keeps the first"):
    converted(source, tmp_path)
  manifest, store = converted(source, tmp_path, on_repeated="first")
  assert store.image_ids == ("a", "b")
  assert manifest["conversion"]["images_repeated"] == 1
  wanted = make_image("a", seed=0).boxes
  np.testing.assert_array_equal(store.read([0])[0]["boxes"], wanted)


def test_provenance_is_in_the_manifest_and_must_not_change(source, tmp_path):
  def reader(**provenance):
    return FORMAT._replace(provenance=provenance)

  interrupt(source, tmp_path, format=reader(crop_size=96, by="a"))
  with pytest.raises(DataError, match=r"another crop_size \(96, now 64\)"):
    convert(source, reader(crop_size=64, by="a"), tmp_path / "store")
  manifest = convert(source, reader(crop_size=96, by="a"), tmp_path / "store")
  assert manifest["provenance"] == {"crop_size": 96, "by": "a"}


def test_a_changed_file_of_a_directory_is_noticed(tmp_path):
  folder = tmp_path / "folder"
  (folder / "below").mkdir(parents=True)
  (folder / "below/a.npz").write_bytes(b"one")
  (folder / "below/again").symlink_to(folder)
  (folder / "dangling").symlink_to(tmp_path / "absent")
  stamp = plan_lib._stamp(str(folder))
  assert stamp[0] == 2
  (folder / ".hidden").write_bytes(b"x")
  assert plan_lib._stamp(str(folder)) == stamp
  (folder / "below/a.npz").write_bytes(b"three")
  changed = plan_lib._stamp(str(folder))
  assert changed != stamp and changed[0] == 2
  (folder / "below/b.npz").touch()
  assert plan_lib._stamp(str(folder))[0] == 3


def test_records_that_were_skipped_are_not_kept_for_a_run_that_refuses(
  tmp_path,
):
  """From error to skip, parts are the same; the other way they are not."""
  bad = {"id": "bad", "set": {"boxes": [[9, 9, 1, 1]] * 5}}
  recipes = [{"id": f"im{i}"} for i in range(5)] + [bad]
  source = write_seeds(tmp_path / "a.seeds", recipes)
  with pytest.raises(DataError, match="bad"):
    converted(source, tmp_path)
  with (
    mock.patch.object(run, "_finish", side_effect=KeyboardInterrupt),
    pytest.raises(KeyboardInterrupt),
  ):
    converted(source, tmp_path, on_bad_record="skip")
  with pytest.raises(DataError, match="with another options"):
    converted(source, tmp_path)
  _, store = converted(source, tmp_path, on_bad_record="skip")
  assert len(store) == 5


@pytest.mark.parametrize(
  ("write", "beside"),
  [(tern_npz, "cocobu_box/im2.npy"), (mmf_npy, "im2_info.npy")],
)
def test_one_part_of_a_directory_changes_with_its_files(
  write, beside, tmp_path, monkeypatch
):
  """Also where only the file beside the features does: boxes, sizes."""
  cut = functools.partial(count_parts, images_per_part=2)
  monkeypatch.setattr(directory, "count_parts", cut)
  folder = write([make_image(f"im{i}", seed=i) for i in range(5)], tmp_path)
  reader, _ = find_format(folder)

  def stamps():
    return plan_lib._stamps(reader, reader.split(folder))

  before = stamps()
  with (folder / beside).open("ab") as file:
    file.write(b"0")
  now = stamps()
  assert [a == b for a, b in zip(before, now, strict=True)] == [1, 0, 1]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_one_line_and_what_is_done_is_kept(
  workers, tmp_path, capsys
):
  small = tmp_path / "small"
  small.mkdir()
  mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(small)]
  if subprocess.run(mount, capture_output=True).returncode:
    pytest.skip("mounting a small file system is not allowed here")
  try:
    corpus = [make_image(f"im{i}", seed=i) for i in range(400)]
    source = butd_tsv_6(corpus, tmp_path)
    words = [f"--source={source}", f"--output={small / 'store'}"]
    assert main([*words, f"--workers={workers}"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"error: {small}/.store.unfinished-convert/part-")
    assert "No space left on device (free some space" in said
    grown = [*mount[:4], "remount,size=9m", *mount[5:]]
    subprocess.run(grown, check=True, capture_output=True)
    assert main(words) == 0
    assert len(RegionStore(small / "store")) == 400
  finally:
    subprocess.run(["umount", "-l", str(small)], check=True)
