"""The service as a process, and its page in a browser."""

import concurrent.futures
import json
import shutil
import signal
import subprocess
import sys
import urllib.request

import pytest

import interbert_jax as ib
from tests.conftest import ROOT
from tests.interbert_jax.app.conftest import IMAGES, TEXTS
from tests.support.scripts import environment


@pytest.fixture(scope="module")
def address(files):
  """The service as a user starts it."""
  command = [sys.executable, "-m", "interbert_jax.app.serve", "--port=0"]
  with subprocess.Popen(
    [*command, f"--model={files['workdir']}"],
    cwd=ROOT,
    env=environment(),
    stdout=subprocess.PIPE,
    text=True,
  ) as process:
    yield process.stdout.readline().split()[0]
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0


def test_a_process_answers_many_at_once(address, files):
  def ask(text):
    request = urllib.request.Request(
      f"{address}v1/search",
      json.dumps({"text": text, "top": 3}).encode(),
      {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:  # noqa: S310
      return [x["image_id"] for x in json.load(response)["results"]]

  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    found = list(pool.map(ask, TEXTS * 4))
  model = ib.load(files["workdir"])
  wanted = [
    [image.image_id for image in images]
    for images in model.search_all(TEXTS, top=3)
  ]
  assert found == wanted * 4


def test_the_page(address):
  sync_api = pytest.importorskip("playwright.sync_api")
  chromium = shutil.which("chromium") or shutil.which("google-chrome")
  if chromium is None:
    pytest.skip("no chromium on this machine (apt install chromium)")
  with sync_api.sync_playwright() as playwright:
    browser = playwright.chromium.launch(
      executable_path=chromium, args=["--no-sandbox"]
    )
    for width, language in ((320, "zh-CN"), (1600, "en-US")):
      context = browser.new_context(
        viewport={"width": width, "height": 800}, locale=language
      )
      page, said, asked = context.new_page(), [], []
      page.on("console", lambda message, said=said: said.append(message.text))
      page.on("pageerror", lambda error, said=said: said.append(str(error)))
      page.on("request", lambda r, asked=asked: asked.append(r.url))
      page.goto(address)
      page.locator("#about:not(:empty)").wait_for()
      page.fill("#text", "a dog")
      page.keyboard.press("Enter")
      figures = page.locator("#results figure")
      figures.nth(IMAGES - 1).wait_for()
      assert figures.count() == IMAGES
      first = figures.first.locator("code").text_content()
      page.locator("#results rect.box").first.wait_for(state="attached")
      # Everything can be done from the keyboard.
      figures.first.locator("button.open").focus()
      page.keyboard.press("Enter")
      page.locator("dialog[open] table").wait_for()
      assert first in page.locator("#detail-title").text_content()
      page.keyboard.press("Escape")
      page.locator("dialog[open]").wait_for(state="detached")
      figures.first.locator("figcaption button").click()
      page.fill("#topics input", "the cat")
      page.click("#recommend")
      page.locator("#ranked figure").first.wait_for()
      ranked = page.locator("#ranked code").all_text_contents()
      assert ranked and first not in ranked  # an example is left out
      wide = page.evaluate("document.documentElement.scrollWidth")
      assert wide <= width
      assert page.evaluate("document.documentElement.lang") == language[:2]
      page.goto(f"{address}docs")
      page.locator("text=POST /v1/search").wait_for()
      assert said == []
      assert all(url.startswith((address, "blob:")) for url in asked)
      context.close()
    browser.close()
