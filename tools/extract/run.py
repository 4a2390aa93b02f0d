"""A folder of images, and their captions, into a folder to train from."""

import json
import pathlib
from collections.abc import Callable
from typing import Any

from input_pipeline.conversion.run import convert, name_changes
from input_pipeline.conversion.settings import ConversionSettings
from input_pipeline.formats.base import RegionFormat
from input_pipeline.store.manifest import MANIFEST
from input_pipeline.store.region_store import RegionStore
from interbert_jax.contract.errors import DataError
from tools.extract.captions import NAME, match_captions, write_captions
from tools.extract.models import Models, describe_models, load_extractor
from tools.extract.photos import image_id_of, list_photos
from tools.extract.reader import Load, make_format
from tools.extract.settings import Settings
from tools.packages import PackageError

_NOTICE = """\
This folder was made by tools/extract of interbert-jax from images that are not
part of it; they, and what their licences ask of works made from them, are for
whoever made this folder to mind.

"""


def extract(
  images: pathlib.Path,
  output: pathlib.Path,
  *,
  settings: Settings,
  captions: pathlib.Path | None = None,
  captions_format: str = "auto",
  on_missing: str = "error",
  on_bad_record: str = "error",
  features: str = "float16",
  workers: int = 1,
  restart: bool = False,
  describe: Callable[[Settings], Models] = describe_models,
  load: Load = load_extractor,
) -> str:
  """Writes output/regions and output/captions.jsonl; says what was made.

  What is there already is not made again, but must have been made from the
  same images in the same way.

  Args:
    images: the folder.
    output: a folder, which may be there.
    settings: of detector and encoder.
    captions: a file of captions, in any known format.
    captions_format: of it; found out by default.
    on_missing: "skip" leaves out captions without an image.
    on_bad_record: "skip" leaves out images that cannot be used.
    features: float16 or int8.
    workers: processes.
    restart: throws away what an interrupted run has done.
    describe: says what `load` loads, and that its files are there.
    load: makes the networks, in each process.

  Raises:
    DataError: anything that the user can mend.
  """
  try:
    models = describe(settings)
  except (PackageError, ValueError) as error:
    raise DataError(str(error)) from error
  images, output = images.absolute(), output.absolute()
  reader = make_format(images, settings, models, load=load)
  names = list_photos(str(images)).names
  if captions is not None:  # before hours of work
    ids = [image_id_of(name) for name in names]
    match_captions(
      captions,
      ids,
      format=captions_format,
      on_missing=on_missing,
      store=images,
    )
  _check_place(output)
  store = output / "regions"
  if store.exists():
    lines = [_check_made_before(store, reader, features)]
  else:
    manifest = convert(
      images,
      reader,
      store,
      settings=ConversionSettings(
        max_regions=settings.max_regions,
        features=features,
        on_bad_record=on_bad_record,
      ),
      workers=min(workers, -(-len(names) // settings.batch_size)),
      restart=restart,
    )
    lines = [_summary(store, manifest)]
  _write_notice(output / "ATTRIBUTION.txt", models)
  lines += _add_captions(
    captions, output / NAME, store, captions_format=captions_format
  )
  return "\n".join([*lines, *_what_next(output, captions is not None)])


def _check_place(output: pathlib.Path) -> None:
  try:
    output.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise DataError(
      f"cannot be made: {error.strerror}", file=output, field="output"
    ) from None


def _check_made_before(
  store: pathlib.Path, reader: RegionFormat, features: str
) -> str:
  """Refuses a store that another command made."""
  hint = "remove it or choose another --output"
  try:
    manifest = json.loads((store / MANIFEST).read_text("utf-8"))
    before = manifest["provenance"]
  except (OSError, ValueError, KeyError, TypeError):
    raise DataError(
      "exists already, and was not extracted from images", file=store, hint=hint
    ) from None
  changed = name_changes(before, reader.provenance)
  if manifest["feature_encoding"] != features:
    changed.append(f"features ({manifest['feature_encoding']}, now {features})")
  if changed:
    raise DataError(
      f"exists already, with another {', '.join(changed)}",
      file=store,
      hint=hint,
    )
  return f"{store} is ready: made before, from images of the same names"


def _add_captions(
  captions: pathlib.Path | None,
  path: pathlib.Path,
  store: pathlib.Path,
  *,
  captions_format: str,
) -> list[str]:
  if captions is None:
    return []
  # Images that could not be read are no longer there.
  found, notes = match_captions(
    captions,
    RegionStore(store).image_ids,
    format=captions_format,
    on_missing="skip",
    store=store,
  )
  write_captions(path, found)
  splits: dict[str, int] = {}
  for line in found:
    split = json.loads(line)["split"]
    splits[split] = splits.get(split, 0) + 1
  listed = ", ".join(f"{count} {split}" for split, count in splits.items())
  return [f"{path}: captions of {listed} images", *(f"  {n}" for n in notes)]


def _write_notice(path: pathlib.Path, models: Models) -> None:
  lines = [f"{key}: {value}" for key, value in models.provenance.items()]
  path.write_text(_NOTICE + "\n".join(lines) + "\n", "utf-8")


def _summary(store: pathlib.Path, manifest: dict[str, Any]) -> str:
  regions, conversion = manifest["regions_per_image"], manifest["conversion"]
  size = sum(shard["bytes"] for shard in manifest["shards"])
  text = (
    f"{store}: {manifest['num_images']} images, {regions['min']} to "
    f"{regions['max']} regions, {size / 1e6:,.1f} MB"
  )
  if conversion["images_skipped"]:
    text += (
      f"\n  {conversion['images_skipped']} images were left out; "
      f"{store / 'skipped.txt'} says why"
    )
  return text


def _what_next(output: pathlib.Path, has_captions: bool) -> list[str]:
  store, captions = output / "regions", output / NAME
  check = f"  python -m input_pipeline.check --store={store}"
  lines = ["Next, check it:", check]
  if has_captions:
    lines[-1] += f" \\\n    --annotations={captions}"
    lines += [
      "and train on it, with the WordPiece vocabulary of your BERT:",
      "  python main.py --config=configs/pretrain_en.py:runlocal \\",
      f"    --workdir=runs/try --config.input.store={store} \\",
      f"    --config.input.annotations={captions} \\",
      "    --config.input.vocab=VOCAB.txt",
    ]
  return lines
