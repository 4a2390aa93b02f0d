"""The quick start with Chinese captions.

  python -m tools.sample_data --mode=openmoji
  python main.py --config=configs/quickstart_zh.py

`:shapes` takes the sample data that needs no download. Hardware: 2 CPU cores,
about 6 minutes of training and evaluation. Expected on the 100 test scenes:
image retrieval R@1 0.43, R@10 0.96; text retrieval R@1 0.49, R@10 0.91
(measured, openmoji, seed 0).
"""

from configs import quickstart


def get_config(arg: str = "openmoji"):
  config = quickstart.get_config(arg)
  config.language = "zh"
  for key in ("annotations", "vocab"):
    config.input[key] = config.input[key].replace("_en.", "_zh.")
  config.input.max_text_length = 30  # a character each
  return config
