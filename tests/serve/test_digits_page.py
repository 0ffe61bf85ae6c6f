"""The example `digits`: a person draws in a browser, a model of shoal.train's says what it is."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from shoal import serve

pytest.importorskip("fastapi")
pytest.importorskip("torch")
datasets = pytest.importorskip("sklearn.datasets")
pytestmark = [pytest.mark.processes, pytest.mark.slow]
FILE = Path(__file__).resolve().parents[2] / "examples" / "digits" / "digits_site.py"


@pytest.fixture
def site(client: httpx.Client, tmp_path: Path) -> httpx.Client:
    """The example, trained and served."""
    example = runpy.run_path(str(FILE), run_name="digits_site")
    result = example["trained"](str(tmp_path))
    assert result.metrics["accuracy"] > 0.95
    serve.run(example["site_of"](result))
    return client


def test_the_model_knows_its_digits(site: httpx.Client) -> None:
    pictures, digits = datasets.load_digits(return_X_y=True)
    answers = [
        site.post("/digit", json={"pixels": list(pictures[n])}).json()["digit"] for n in range(1, 41, 2)
    ]
    assert sum(answer == digits[n] for answer, n in zip(answers, range(1, 41, 2), strict=True)) >= 18
    assert site.get("/accuracy").json()["accuracy"] > 0.95
    assert site.post("/digit", json={"pixels": [1, 2]}).status_code == 422


def test_a_stroke_is_a_one(site: httpx.Client) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("`make browser` has not brought Chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--headless", "--no-sandbox"])
        page: Any = browser.new_page()
        page.goto(str(site.base_url))
        sync_api.expect(page.locator("#accuracy")).to_contain_text("% of the digits", timeout=20_000)
        box = page.locator("#board").bounding_box()
        page.mouse.move(box["x"] + 136, box["y"] + 16)
        page.mouse.down()
        page.mouse.move(box["x"] + 124, box["y"] + 240, steps=20)
        page.mouse.up()
        sync_api.expect(page.locator("#answer")).to_have_text("1", timeout=20_000)
        page.locator("#clear").click()
        sync_api.expect(page.locator("#answer")).to_have_text("")
        browser.close()
