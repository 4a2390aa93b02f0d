"""Ranks the items of a catalogue for topics; --help says more."""

import runpy

if __name__ == "__main__":
  runpy.run_module(
    "interbert_jax.app.ranking.recommend", run_name="__main__", alter_sys=True
  )
