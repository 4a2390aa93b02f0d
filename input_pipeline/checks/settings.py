"""What to check, and against which batches."""

import dataclasses

from interbert_jax.contract.settings import Settings, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckSettings(Settings):
  """Named as the flags of `python -m input_pipeline.check`."""

  max_regions: int = setting(36, "slots of a batch for regions", low=1)
  max_text_length: int = setting(
    36, "slots of a batch for pieces, special tokens included", low=1
  )
  batch_size: int | None = setting(
    None, "global batch size; without it D15 and D16 are left out", low=1
  )
  devices: int | None = setting(None, "devices that share a batch", low=1)
  fast: bool = setting(
    False, "a sample of 256 records and no checksums, as training does it"
  )
  draw: int = setting(
    0, "draw so many images of the store, chosen at random", low=0
  )
