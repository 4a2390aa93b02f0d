"""The notebooks run as a user runs them, only shorter."""

import pathlib

import pytest

from tests.conftest import ROOT
from tests.support.scripts import environment

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")


def execute(name, monkeypatch, **variables):
  """Every output of a notebook; a cell that fails raises."""
  for key, value in {**environment(), **variables}.items():
    monkeypatch.setenv(key, str(value))
  notebook = nbformat.read(ROOT / "examples" / name, as_version=4)
  assert not any(cell.get("outputs") for cell in notebook.cells)
  client = nbclient.NotebookClient(
    notebook, timeout=None, resources={"metadata": {"path": str(ROOT)}}
  )
  client.execute()
  return [out for cell in notebook.cells for out in cell.get("outputs", ())]


@pytest.mark.filterwarnings("ignore")  # of Jupyter's own packages
def test_train_then_use(tmp_path, monkeypatch):
  monkeypatch.setenv("INTERBERT_CACHE", str(tmp_path / "cache"))
  # Figures are shown, whatever the tests draw with.
  monkeypatch.delenv("MPLBACKEND", raising=False)
  workdir = tmp_path / "run"
  execute("train.ipynb", monkeypatch, WORKDIR=workdir, STEPS=4)
  assert list(pathlib.Path(workdir / "eval").glob("*.json"))
  outputs = execute("use.ipynb", monkeypatch, MODEL=workdir)
  pictures = [x for x in outputs if "image/png" in x.get("data", {})]
  assert len(pictures) == 2
  texts = " ".join(x["data"]["text/plain"] for x in outputs if "data" in x)
  assert "Found(image_id=" in texts and "array(" in texts
