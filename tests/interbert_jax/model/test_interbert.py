"""Properties of the model that hold for any weights."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interbert_jax.model.config import SIZES, InterBertConfig, make_config
from interbert_jax.model.initializers import init_params
from interbert_jax.model.inputs import RegionInput, TextInput, region_input
from interbert_jax.model.interbert import InterBert, pretraining_heads
from interbert_jax.model.layers import Encoder
from tests.support.tiny_task import NO_DROPOUT

B, L, R, E = 3, 7, 5, 12
CONFIG = make_config(
  "tiny", vocab_size=120, region_feature_dim=E, num_region_classes=9
)


@functools.cache
def arrays():
  rng = np.random.default_rng(0)
  corner = rng.uniform(0, 200, (B, R, 2))
  return {
    "ids": rng.integers(5, 120, (B, L)),
    "text_length": np.array([7, 4, 5]),
    "features": rng.normal(size=(B, R, E)).astype(np.float32),
    "boxes": np.concatenate([corner, corner + 50], -1).astype(np.float32),
    "size": np.full((B, 2), 300),
    "num_regions": np.array([5, 2, 3]),
  }


def inputs(**changes):
  a = {**arrays(), **changes}
  text = TextInput(
    jnp.asarray(a["ids"]), jnp.arange(L) < a["text_length"][:, None]
  )
  regions = region_input(
    *(jnp.asarray(a[k]) for k in ("features", "boxes", "size", "num_regions"))
  )
  return text, regions


def pretraining(config):
  return InterBert(config, pretraining_heads(config))


@functools.cache
def params():
  return init_params(pretraining(CONFIG), jax.random.key(0), *inputs())


def apply(text, regions, config=CONFIG, parameters=None, **options):
  forward = functools.partial(pretraining(config).apply, **options)
  variables = {"params": params() if parameters is None else parameters}
  return jax.jit(forward)(variables, text, regions)


def encode(text, regions):
  return apply(text, regions, method="encode")


def test_padding_changes_nothing():
  """Garbage, even NaN, in padded regions; other ids in padded text slots."""
  a = arrays()
  padded_text = np.arange(L) >= a["text_length"][:, None]
  padded_regions = np.arange(R) >= a["num_regions"][:, None]
  spoilt = {
    "ids": np.where(padded_text, 77, a["ids"]),
    "features": np.where(padded_regions[..., None], np.nan, a["features"]),
    "boxes": np.where(padded_regions[..., None], 1e9, a["boxes"]),
  }
  clean, dirty = (
    apply(*x) | vars(encode(*x)) for x in (inputs(), inputs(**spoilt))
  )
  real = {
    "text": ~padded_text,
    "regions": np.concatenate([np.ones((B, 1), bool), ~padded_regions], 1),
  }
  for name, mask in real.items():
    np.testing.assert_array_equal(clean[name][mask], dirty[name][mask])
  np.testing.assert_array_equal(clean["match_head"], dirty["match_head"])


def test_padding_slots_do_not_matter():
  """The same examples with fewer padded slots give the same numbers."""
  text, regions = inputs()
  short = encode(
    TextInput(text.ids[1:2, :4], text.mask[1:2, :4]),
    jax.tree.map(lambda x: x[1:2, :3], regions),
  )
  full = encode(text, regions)
  np.testing.assert_allclose(
    short.pooled_text[0], full.pooled_text[1], atol=1e-6
  )
  np.testing.assert_allclose(
    short.pooled_regions[0], full.pooled_regions[1], atol=1e-6
  )


def streams_touched(output):
  """Parameter groups with a non-zero gradient from a random projection."""
  text, regions = inputs()

  def loss(parameters):
    value = getattr(
      apply(text, regions, parameters=parameters, method="encode"), output
    )
    return jnp.sum(value * jax.random.normal(jax.random.key(1), value.shape))

  grads = jax.grad(loss)(params())["encoder"]
  return {
    name
    for name, tree in grads.items()
    if any(float(jnp.abs(g).max()) > 1e-9 for g in jax.tree.leaves(tree))
  }


def test_streams_are_independent_after_the_split():
  shared = {"text_embeddings", "region_embeddings", "interaction_encoder"}
  assert streams_touched("text") == shared | {"text_encoder"}
  assert streams_touched("regions") == shared | {"region_encoder"}


def test_text_only_equals_text_with_no_regions():
  text, regions = inputs(num_regions=np.zeros(B, int))
  assert not regions.mask.any()
  alone, masked = encode(text, None), encode(text, regions)
  assert alone.regions is None and alone.pooled_regions is None
  np.testing.assert_allclose(alone.text, masked.text, atol=1e-6)


def test_image_only_equals_regions_with_no_text():
  text, regions = inputs(text_length=np.zeros(B, int))
  alone, masked = encode(None, regions), encode(text, regions)
  assert alone.text is None and alone.pooled_text is None
  real = np.asarray(regions.mask)
  np.testing.assert_allclose(
    alone.regions[real], masked.regions[real], atol=1e-6
  )


def test_nothing_at_all_is_refused():
  with pytest.raises(ValueError, match="text, regions or both"):
    encode(None, None)


def test_too_much_text_is_refused():
  ids = jnp.zeros((1, 65), int)
  with pytest.raises(ValueError, match="max_position_embeddings is 64"):
    encode(TextInput(ids, jnp.ones((1, 65))), None)


def test_bfloat16_stays_close():
  config = dataclasses.replace(CONFIG, dtype="bfloat16")
  exact, rough = apply(*inputs()), apply(*inputs(), config=config)
  encoded = apply(*inputs(), config=config, method="encode")
  assert encoded.text.dtype == jnp.bfloat16
  for name in ("mlm_head", "region_head", "match_head"):
    assert rough[name].dtype == jnp.float32
    scale = np.abs(exact[name]).max()
    error = np.abs(rough[name] - exact[name]).max() / scale
    assert 0 < error < 0.03, name


def test_sum_fusion():
  config = dataclasses.replace(CONFIG, fusion="sum")
  encoded = encode(*inputs())
  got = apply(encoded, None, config=config, method=lambda m, x, _: m.pool(x))
  np.testing.assert_allclose(
    got, encoded.pooled_text + encoded.pooled_regions, atol=1e-6
  )


def test_dropout_needs_a_key_and_changes_the_output():
  text, regions = inputs()
  first, second = (
    apply(
      text,
      regions,
      deterministic=False,
      rngs={"dropout": jax.random.key(i)},
    )["match_head"]
    for i in (1, 2)
  )
  assert not np.allclose(first, second)


def test_a_head_reads_its_vectors_through_one_dropout():
  """A tenth of the fused vector is dropped in front of a head, as officially.

  The official downstream model multiplies the pooled vectors, drops a tenth of
  the product, and gives it to its heads; it drops nothing in between.
  """
  rate = 0.1
  config = dataclasses.replace(CONFIG, **NO_DROPOUT)
  config = dataclasses.replace(config, pooled_dropout=rate)
  text, regions = jax.tree.map(
    lambda x: jnp.repeat(x[:1], 4000, axis=0), inputs()
  )
  for name in ("choice_head", "match_head"):
    model = InterBert(config, {name: 1})
    params = init_params(model, jax.random.key(0), text, regions)
    # The head reads one number of the fused vector, which is never 0.
    for pooler in ("text_pooler", "region_pooler"):
      params["encoder"][pooler]["dense"]["bias"] += 10.0
    kernel = jnp.zeros((config.pooler_dim, 1)).at[3].set(1.0)
    params[name]["dense"]["kernel"] = kernel
    run = jax.jit(functools.partial(model.apply, deterministic=False))
    rngs = {"dropout": jax.random.key(1)}
    read = run({"params": params}, text, regions, rngs=rngs)[name]
    # Five standard deviations of a share of 4000.
    assert abs(float(jnp.mean(read == 0)) - rate) < 0.024, name


def count_parameters(config):
  text = TextInput(jnp.zeros((1, 4), int), jnp.ones((1, 4)))
  width = config.region_feature_dim
  regions = RegionInput(
    jnp.zeros((1, 3, width)), jnp.zeros((1, 3, 5)), jnp.ones((1, 3))
  )
  model = pretraining(config)
  shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), text, regions))
  return sum(x.size for x in jax.tree.leaves(shapes))


def test_base_has_157_million_parameters():
  assert count_parameters(InterBertConfig()) == 157_021_565


@pytest.mark.parametrize("size", SIZES)
def test_every_size_builds(size):
  assert count_parameters(make_config(size)) > 0


@pytest.mark.parametrize("remat", ["full", "dots"])
def test_recomputation_changes_no_number(remat):
  """The same parameters' names, and the same gradients under dropout."""
  x_BSD = np.random.default_rng(0).normal(size=(2, 5, CONFIG.hidden_size))
  mask_BS = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
  variables, grads, programs = {}, {}, {}
  for name in ("none", remat):
    shape = dataclasses.replace(CONFIG.text_layer, remat=name)
    encoder = Encoder(shape, 1)

    def loss(params, encoder=encoder):
      out_BSD = encoder.apply(
        params,
        jnp.float32(x_BSD),
        mask_BS,
        deterministic=False,
        rngs={"dropout": jax.random.key(1)},
      )
      return jnp.sum(jnp.square(out_BSD))

    inputs = jnp.float32(x_BSD), mask_BS
    fresh = init_params(encoder, jax.random.key(0), *inputs, deterministic=True)
    variables[name] = {"params": fresh}
    traced = jax.jit(jax.grad(loss)).trace(variables[name])
    programs[name] = str(traced.jaxpr)
    grads[name] = traced.lower().compile()(variables[name])
  jax.tree.map(np.testing.assert_array_equal, *variables.values())
  scale = max(np.abs(g).max() for g in jax.tree.leaves(grads["none"]))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6 * scale),
    *grads.values(),
  )
  # The backward pass makes the GELU of the layer once more.
  erfs = {name: text.count("= erf") for name, text in programs.items()}
  assert erfs == {"none": 1, remat: 2}


@pytest.mark.parametrize(
  ("name", "wanted"),
  [("float32", "HIGHEST"), ("tensorfloat32", "HIGH"), ("bfloat16", "DEFAULT")],
)
def test_every_product_has_the_precision_of_the_configuration(name, wanted):
  """Forward and backward, whatever JAX's own default is."""
  config = dataclasses.replace(CONFIG, matmul_precision=name)

  def loss(parameters):
    outputs = apply(*inputs(), config=config, parameters=parameters)
    return sum(jnp.sum(value) for value in outputs.values())

  with jax.default_matmul_precision("bfloat16"):
    jaxpr = jax.make_jaxpr(jax.grad(loss))(params())
  found = set(re.findall(r"precision=(\S+)", str(jaxpr)))
  products = str(jaxpr).count("dot_general[")
  assert products > 30
  assert all(wanted in words for words in found) and found, found
