import interbert_jax.contract  # noqa: F401  (says what is not installed)
