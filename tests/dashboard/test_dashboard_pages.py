"""The pages in a real browser: each with its content, by mouse and keys, in both themes, on a phone, for everybody."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import Asker
from browsing import AXE, FLAGS, SECONDS, fill, require_browser, until

import shoal

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
expect.set_options(timeout=SECONDS * 1000)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
PICTURES = Path(__file__).resolve().parents[2] / "docs" / "images" / "dashboard"
PAGES = {  # path: what must be on it
    "": ["Overview", "Tasks finished", "Busiest functions", "tokenize", "actor Fragile DEAD"],
    "nodes": ["Nodes", "this machine", "alive", "CPU 2"],
    "workers": ["Workers", "driver", "EXITED"],
    "actors": ["Actors", "Words", "Fragile", "dead"],
    "tasks": ["Tasks", "Words.spin", "running", "ActorDied"],
    "tasks?view=functions": ["By function", "tokenize", "Fragile.die", "is not UTF-8"],
    "tasks?view=timeline": ["Timeline", "Closer"],
    "objects": ["Objects and memory", "local reference", "Who holds most"],
    "groups": ["Placement groups", "pair", "created"],
    "jobs": ["Programs", "running", "Jobs cannot be submitted to this session"],
    "serve": ["Nothing is served in this session"],
    "train": ["Nothing was trained in this session"],
    "tune": ["No experiment was run in this session"],
    "data": ["No dataset was executed for longer than a second"],
    "events": ["Cluster events", "group pair CREATED", "warning"],
    "logs": ["Logs", "the total is 435"],
}
PICTURED = {"tasks", "tasks?view=functions", "tasks?view=timeline", "objects", "logs"}
NAMES = {path: re.sub(r"\?view=", "_", path) or "overview" for path in PAGES}


@pytest.fixture(scope="module")
def asker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    stop = tmp_path_factory.mktemp("stop") / "stop"
    context = shoal.init(num_cpus=2, dashboard_port=0, log_to_driver=False)
    try:
        kept = fill(str(stop))
        found = json.loads(Path(context["session_dir"], "dashboard.json").read_text())
        yield Asker(found["url"], found["token"])
        stop.touch()
        shoal.get(kept[-1], timeout=60)
    finally:
        shoal.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = require_browser()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, asker: Asker) -> Iterator[Any]:
    """A page that is logged in. What its console complains of, and what it asks of others, fails the test."""
    context = browser.new_context(base_url=asker.url, viewport={"width": 1440, "height": 900})
    context.set_default_timeout(SECONDS * 1000)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None
    )
    page.on("request", lambda asked: asked.url.startswith(asker.url) or complaints.append(asked.url))
    page.goto(f"/#token={asker.token}")
    expect(page.locator(".tiles")).to_be_visible()
    assert "token" not in page.url
    yield page
    context.close()
    # That no job can be submitted to a program's own session is found out by asking.
    assert [one for one in complaints if "503" not in one] == []


@pytest.mark.parametrize("path", PAGES)
def test_a_page_shows_its_content_and_everybody_can_use_it(
    page: Any, path: str, request: pytest.FixtureRequest
) -> None:
    page.goto(f"/{path}")
    for text in PAGES[path]:
        expect(page.get_by_text(text).first).to_be_visible()
    if "timeline" in path:
        expect(
            page.get_by_role("img", name=re.compile(r"Timeline of \d+ calls on \d+ processes"))
        ).to_be_visible()
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        expect(page.locator(f'html[data-theme="{theme}"]')).to_have_count(1)
        assert serious(page) == []
        wanted = not path or (theme == "light" and path in PICTURED)
        picture(page, request, f"{NAMES[path]}{'_dark' if theme == 'dark' else ''}", wanted)


@pytest.mark.parametrize("path", ["", "tasks", "tasks?view=functions", "objects", "logs"])
@pytest.mark.parametrize("width", [400, 3840])
def test_a_page_fits_phones_and_walls(
    page: Any, path: str, width: int, request: pytest.FixtureRequest
) -> None:
    page.set_viewport_size({"width": width, "height": 850 if width == 400 else 2160})
    page.goto(f"/{path}")
    expect(page.get_by_text(PAGES[path][1]).first).to_be_attached()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert serious(page) == []
    picture(page, request, f"{NAMES[path]}_phone", width == 400 and not path)


def test_the_phone_menu_leads_to_every_page(page: Any) -> None:
    page.set_viewport_size({"width": 400, "height": 850})
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("link", name="Actors", exact=True).click()
    expect(page.get_by_role("heading", name="Actors")).to_be_visible()
    expect(page.get_by_role("link", name="Actors", exact=True)).to_be_hidden()


def test_keys_search_move_open_and_go(page: Any) -> None:
    page.keyboard.press("g")
    page.keyboard.press("t")
    expect(page.get_by_role("heading", name="Tasks")).to_be_visible()
    expect(page.get_by_role("row").nth(3)).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("function:tokenize state:failed")
    expect(page.get_by_text(re.compile(r"^\d of \d+$"))).to_be_visible()
    assert "q=function" in page.url
    page.keyboard.press("Enter")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    expect(page.locator('[aria-selected="true"]')).to_contain_text("tokenize")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("is not UTF-8")
    assert serious(page) == []
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_contain_text("g m")
    page.keyboard.press("Escape")
    before = page.locator("html").get_attribute("data-theme")
    page.keyboard.press("T")
    expect(page.locator(f'html[data-theme="{before}"]')).to_have_count(0)
    page.reload()
    expect(page.locator("nav")).to_be_visible()
    assert page.locator("html").get_attribute("data-theme") != before


def test_filters_and_sorting(page: Any) -> None:
    page.goto("/tasks")
    page.get_by_role("button", name=re.compile("^failed")).click()
    rows = page.locator(".table-row")
    expect(rows.first).to_contain_text("failed")
    expect(page.locator(".table-row", has_text="finished")).to_have_count(0)
    page.get_by_role("columnheader", name="Function").click()
    page.get_by_role("columnheader", name=re.compile("Function")).get_by_role("button").click()
    expect(page.locator('[aria-sort="descending"]')).to_have_text(re.compile("Function"))
    page.get_by_role("button", name="all", exact=True).click()
    expect(rows.first).not_to_contain_text("failed")


def test_numbers_are_live(page: Any) -> None:
    tile = page.locator(".tile", has_text="Tasks finished").locator("b")
    before = int(tile.inner_text().replace(",", ""))

    @shoal.remote
    def another() -> None:
        return None

    shoal.get([another.remote() for _ in range(25)], timeout=60)
    expect(tile).to_have_text(f"{before + 25:,}")
    expect(page.get_by_text("another")).to_be_visible()


def test_a_stack_and_a_flame_graph_in_a_click(page: Any, request: pytest.FixtureRequest) -> None:
    page.goto("/actors")
    page.locator(".table-row", has_text="words").click()
    page.get_by_role("button", name="Stack").click()
    wide = page.locator("dialog.is-wide")
    expect(wide).to_contain_text("Words.spin")
    assert serious(page) == []
    picture(page, request, "stack", True)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Flame graph").click()
    expect(wide.locator(".flame")).to_be_visible()
    expect(wide).to_contain_text("crunch")
    picture(page, request, "flame", True)
    assert serious(page) == []
    wide.locator(".flame button", has_text="crunch").first.click()
    expect(wide.get_by_role("button", name="show all")).to_be_visible()


def test_a_search_in_logs_marks_what_it_finds(page: Any) -> None:
    page.goto("/logs")
    page.get_by_label("Search this log").fill("total is 4")
    expect(page.locator("mark").first).to_have_text("total is 4")
    expect(page.get_by_text("lines hold it")).to_be_visible()
    expect(page.locator("pre.log")).not_to_contain_text("the total is 1\n")


def test_logging_in_and_out_and_a_stale_login(browser: Any, asker: Asker) -> None:
    context = browser.new_context(base_url=asker.url)
    context.set_default_timeout(SECONDS * 1000)
    page = context.new_page()
    page.goto("/tasks")
    expect(page.get_by_label("Token")).to_be_visible()
    assert serious(page) == []
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("not this session's token")
    page.get_by_label("Token").fill(asker.token)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Tasks")).to_be_visible()
    [cookie] = context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    context.clear_cookies()
    context.add_cookies([{"name": cookie["name"], "value": "1.a.b", "url": asker.url}])
    expect(page.get_by_text("Your login is over")).to_be_visible()
    page.get_by_label("Token").fill(asker.token)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Tasks")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_text("You have logged out")).to_be_visible()
    page.goto(f"/#token={'0' * 64}")
    page.reload()
    expect(page.get_by_label("Token")).to_be_visible()
    context.close()


def samples(page: Any) -> list[float]:
    """When the node of the session has told of itself."""
    told = page.evaluate("() => fetch('/api/series').then((answer) => answer.json())")
    return next(iter(told["nodes"].values()))["t"] if told["nodes"] else []


def serious(page: Any) -> list[str]:
    """What axe finds that shuts somebody out."""
    page.evaluate(AXE.read_text())
    found = page.evaluate(
        "() => axe.run(document).then((all) => (all.passes.length > 5 ? all.violations : null))"
    )
    return [
        f"{one['id']}: {one['help']}: {one['nodes'][0]['html'][:200]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def picture(page: Any, request: pytest.FixtureRequest, name: str, wanted: bool) -> None:
    """Take a picture for the documentation, if pictures are asked for."""
    if wanted and request.config.getoption("--write-screenshots"):
        PICTURES.mkdir(parents=True, exist_ok=True)
        expect(page.locator(".status")).to_contain_text("live")
        if name.startswith("overview"):
            # A chart of one sample says little; there is one every five seconds.
            label = page.get_by_role("img", name=re.compile("^Processors"))
            expect(label).to_be_visible()
            until(lambda: len(samples(page)) >= 6, 60)
        page.screenshot(path=PICTURES / f"{name}.png")
