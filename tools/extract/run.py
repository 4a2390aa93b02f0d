"""A folder of images, and their captions, into a folder to train from."""

import collections
import json
import pathlib
from collections.abc import Callable
from typing import Any

from input_pipeline.conversion.run import convert, name_changes
from input_pipeline.conversion.runners import beam_runner
from input_pipeline.conversion.settings import ConversionSettings
from input_pipeline.formats.base import RegionFormat
from input_pipeline.store.manifest import MANIFEST
from input_pipeline.store.region_store import RegionStore
from interbert_jax.contract.errors import DataError
from tools.extract.captions import NAME, match_captions, write_captions
from tools.extract.models import Models, describe_models, load_extractor
from tools.extract.photos import image_id_of, list_photos
from tools.extract.reader import Load, make_format
from tools.extract.settings import Options, RegionSettings

_NOTICE = """\
This folder was made by tools/extract of interbert-jax from images that are not
part of it; they, and what their licences ask of works made from them, are for
whoever made this folder to mind.

"""


def extract(
  options: Options,
  settings: RegionSettings,
  *,
  describe: Callable[[RegionSettings], Models] = describe_models,
  load: Load = load_extractor,
) -> str:
  """Writes output/regions and output/captions.jsonl; says what was made.

  What is there already is not made again, but must have been made from the
  same images in the same way.

  Args:
    options: which images and captions, and where to.
    settings: of detector and encoder.
    describe: says what `load` loads, and that its files are there.
    load: makes the networks, in each process.

  Raises:
    UserError: anything that the user can mend.
  """
  models = describe(settings)
  images, output = options.images.absolute(), options.output.absolute()
  reader = make_format(images, settings, models, load=load)
  names = list_photos(str(images)).names
  if options.captions is not None:  # before hours of work
    match_captions(
      options.captions,
      [image_id_of(name) for name in names],
      format=options.captions_format,
      on_missing=options.on_missing,
      store=images,
    )
  _check_place(output)
  store = output / "regions"
  if store.exists():
    lines = [_check_made_before(store, reader, options.features)]
  else:
    manifest = convert(
      images,
      reader,
      store,
      settings=ConversionSettings(
        max_regions=settings.max_regions,
        features=options.features,
        on_bad_record=options.on_bad_record,
      ),
      workers=min(options.workers, -(-len(names) // settings.batch_size)),
      restart=options.restart,
      runner=None if options.beam is None else beam_runner(options.beam),
    )
    lines = [_summary(store, manifest)]
  _write_notice(output / "ATTRIBUTION.txt", models)
  lines += _add_captions(options, output / NAME, store)
  return "\n".join([*lines, *_what_next(output, options.captions is not None)])


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
  options: Options, path: pathlib.Path, store: pathlib.Path
) -> list[str]:
  if options.captions is None:
    return []
  # Images that could not be read are no longer there.
  lines, notes = match_captions(
    options.captions,
    RegionStore(store).image_ids,
    format=options.captions_format,
    on_missing="skip",
    store=store,
  )
  write_captions(path, lines)
  splits = collections.Counter(json.loads(line)["split"] for line in lines)
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
