"""A page of samples, to see whether negatives are hard, and really wrong."""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from input_pipeline.negatives.table import NegativeTable
from interbert_jax.contract.errors import import_optional

SHOWN = 8  # candidates of an item

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none';
 style-src 'unsafe-inline'">
<title>{{ title }}</title>
<style>
  body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto;
         max-width: 60rem; padding: 0 1rem; color: #1e222a; }
  article { border-top: 1px solid #d8dce2; padding: .75rem 0; }
  h2 { font-size: 1rem; margin: 0 0 .3rem; overflow-wrap: anywhere; }
  table { border-collapse: collapse; }
  td { padding: .1rem .8rem .1rem 0; vertical-align: top;
       overflow-wrap: anywhere; }
  td:first-child { color: #5a616d; font-variant-numeric: tabular-nums; }
  p { color: #5a616d; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
<p>{% for key, value in facts.items() %}{{ key }} {{ value }}
{%- if not loop.last %}, {% endif %}{% endfor %}</p>
{% for item in items %}
<article>
<h2>{{ item.name }}</h2>
<table>{% for score, name in item.candidates %}
<tr><td>{{ score }}</td><td>{{ name }}</td></tr>{% endfor %}
</table>
{% if not item.candidates %}<p>no candidates</p>{% endif %}
</article>
{% endfor %}
</body>
</html>
"""


class Item(NamedTuple):
  """An item on the page: its text, and (score, text) of its candidates."""

  name: str
  candidates: list[tuple[str, str]]


def write_page(
  path: str | pathlib.Path,
  table: NegativeTable,
  names: Sequence[str],
  *,
  count: int,
  seed: int = 0,
):
  """Writes the HTML of some items, drawn at random; texts are escaped.

  Args:
    path: the file to write.
    table: the negatives.
    names: [N] the text to show for each item.
    count: how many items to show.
    seed: seed of the choice of items.
  """
  jinja2 = import_optional("jinja2")
  rng = np.random.default_rng(seed)
  rows = np.sort(
    rng.choice(table.items, min(count, table.items), replace=False)
  )
  items = []
  for row in rows:
    candidates = zip(
      table.candidates[row][:SHOWN], table.scores[row][:SHOWN], strict=True
    )
    shown = [(f"{s:.2f}", names[c]) for c, s in candidates if c >= 0]
    items.append(Item(names[row], shown))
  facts = {
    key.replace("_", " "): value
    for key, value in table.about.items()
    if key not in ("crc32", "fingerprint", "version")
  }
  page = jinja2.Environment(autoescape=True).from_string(_PAGE)
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  title = f"Hard {table.about['kind']}"
  path.write_text(page.render(title=title, facts=facts, items=items), "utf-8")
