"""--set of the eval scripts: values by the type of what they replace."""

import pytest

from interbert_jax.app.trained_run import change_config

CONFIG = {
  "input": {
    "captions": {"captions_per_image": None},
    "store": "a",
    "shares": 1,
  },
  "task": {"conditional_masking": True, "text_masking": {"probs": [0.5, 0.5]}},
  "optim": {"lr": 0.1},
}


@pytest.mark.parametrize(
  ("key", "text", "wanted"),
  [
    ("input.captions.captions_per_image", "2", 2),
    ("input.captions.captions_per_image", "None", None),
    ("input.store", "a=2", "a=2"),
    ("input.store", "2", "2"),
    ("input.shares", "4", 4),
    ("task.conditional_masking", "false", False),
    ("task.conditional_masking", "True", True),
    # JSON has lists for tuples.
    ("task.text_masking.probs", "(0.2, 0.8)", [0.2, 0.8]),
    ("optim.lr", "1e-3", 1e-3),
  ],
)
def test_values(key, text, wanted):
  found = change_config(CONFIG, [f"{key}={text}"])
  for part in key.split("."):
    found = found[part]
  assert found == wanted and type(found) is type(wanted)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ("input.shares=two", "--set=input.shares=two: invalid literal"),
    ("task.conditional_masking=no", "wanted true or false"),
    ("task.text_masking.probs=1", "wanted a tuple"),
    ("input.stores=x", "no key 'stores'; keys: .*store"),
    ("inputs.store=x", "no section 'inputs'"),
    ("input.store", "wanted --set=section.key=value"),
  ],
)
def test_mistakes(change, message):
  with pytest.raises(ValueError, match=message):
    change_config(CONFIG, [change])
