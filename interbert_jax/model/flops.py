"""How much a training step must compute, whatever a program makes of it."""

from interbert_jax.model.config import InterBertConfig, LayerShape


def useful_flops(
  config: InterBertConfig,
  *,
  tokens: float,
  regions: float,
  masked_tokens: float,
  masked_regions: float,
) -> float:
  """Operations to train on one pair without padding; a multiply-add is two.

  Forward, and backward twice that, of all matrix products: those of every layer
  for all slots, of the heads for masked ones. Features have no gradient.

  Args:
    config: the model, with the paper's three objectives.
    tokens: of a text, on average.
    regions: of an image with the global one.
    masked_tokens, masked_regions: those that the losses read.
  """
  width, pooled = config.hidden_size, config.pooler_dim

  def layers(count: int, shape: LayerShape, slots: float) -> float:
    dense = 4 * width * width + 2 * width * shape.mlp_dim
    attention = 2 * slots * width  # scores, and the sum of the values
    return count * slots * 2 * (dense + attention)

  def head(outputs: int) -> float:
    return 2 * (width * width + width * outputs)

  features = regions * 2 * (config.region_feature_dim + 5) * width
  forward = (
    layers(config.num_interaction_layers, config.text_layer, tokens + regions)
    + layers(config.num_text_layers, config.text_layer, tokens)
    + layers(config.num_region_layers, config.region_layer, regions)
    + features
    + masked_tokens * head(config.vocab_size)
    + masked_regions * head(config.region_output_dim)
    + 2 * 2 * width * pooled
    + 2 * pooled * 2
  )
  return 3 * forward - features
