"""What other packages add to the server, and the pages as the sources build them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import Asker

import shoal
from shoal.looking import watch

PLUGIN = """
from starlette.responses import JSONResponse
from starlette.routing import Route
from shoal.interfaces.routes import Contribution

def routes(context):
    async def crash(request):
        raise RuntimeError("a secret of the server")

    async def upload(request):
        return JSONResponse({"bytes": len(await request.body())})

    def page():
        rows = [["bayes", "RUNNING", 3]]
        table = {"name": "Experiments", "columns": ["name", "state", "trials"], "rows": rows}
        series = {"loss": [[1.0, 3.0], [2.0, 1.5]]}
        return {"title": "Harvest", "tables": [table], "charts": [{"name": "Loss", "series": series}]}

    return Contribution(
        routes=[Route("/api/crash", crash), Route("/api/upload", upload, methods=["POST"])],
        paths={"/api/crash": {"get": {"summary": "It fails.", "responses": {"500": {"description": "No."}}}}},
        pages={"harvest": page},
        body_limits={"/api/upload": 3_000_000},
    )

def broken(context):
    raise OSError("no such thing")
"""


@pytest.fixture
def plugged(fake_dist: Any) -> Iterator[Asker]:
    """A session whose server has another package's routes, and those of one that fails."""
    entries = "[shoal.routes]\nextra = extra_routes:routes\nbroken = extra_routes:broken\n"
    fake_dist("extra_routes", entries, PLUGIN)
    context = shoal.init(num_cpus=1, dashboard_port=0)
    try:
        found = json.loads(Path(context["session_dir"], "dashboard.json").read_text())
        yield Asker(found["url"], found["token"])
        log = Path(context["session_dir"], "logs", "dashboard.log").read_text()
        assert "routes 'broken' are left out" in log
        assert "a secret of the server" in log
    finally:
        shoal.shutdown()


def test_routes_and_pages_of_another_package(plugged: Asker) -> None:
    answer = plugged.ask("/api/crash")
    assert answer.status == 500
    assert "secret" not in answer.body.decode()
    assert "Traceback" not in answer.body.decode()
    assert "dashboard.log" in answer.json["message"]
    assert plugged.ask("/api/upload", "POST", b"x" * 2_500_000).json == {"bytes": 2_500_000}
    assert plugged.ask("/api/upload", "POST", b"x" * 3_500_000).status == 413
    assert plugged.ask("/api/crash", with_token=False).status == 401
    assert "/api/crash" in plugged.ask("/api/openapi.json").json["paths"]
    assert plugged.ask("/api/pages/harvest").json["tables"][0]["rows"] == [["bayes", "RUNNING", 3]]


def test_a_log_of_ten_gigabytes_is_shown_and_searched_at_once(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    log = tmp_path / "logs" / "worker-1.log"
    with open(log, "wb") as file:
        file.truncate(10 << 30)  # nothing but zeros, and not one end of a line
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + b"".join(b"line %d\n" % number for number in range(1000)))
    watching = watch(str(tmp_path))
    try:
        last = watching.errand("", "log", {"name": log.name, "lines": 2, "search": ""}, 30.0)
        assert last["lines"] == ["line 998", "line 999"]
        found = watching.errand("", "log", {"name": log.name, "lines": 5, "search": "LINE 77"}, 30.0)
        assert found["matches"] == 11
        assert found["lines"][-1] == "line 779"
        assert found["searched"] < found["bytes"]
        long = watching.errand("", "log", {"name": log.name, "lines": 5000, "search": ""}, 30.0)
        assert len(long["lines"]) == 1001 - 1
        assert max(map(len, long["lines"])) < 10_000
    finally:
        watching.close()


@pytest.mark.slow
def test_the_committed_pages_are_what_the_sources_build(tmp_path: Path) -> None:
    web = Path(__file__).resolve().parents[2] / "plugins" / "dashboard" / "web"
    node = shutil.which("node")
    if node is None or not (web / "node_modules" / "esbuild").is_dir():
        if os.environ.get("CI"):
            pytest.fail("`make browser` has not brought the front end's packages")
        pytest.skip("Node.js or the front end's packages are not here: `make browser`")
    out = tmp_path / "built"
    subprocess.run([node, "build.mjs", str(out)], cwd=web, check=True, timeout=100)
    committed = web.parent / "static"
    names = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert names == sorted(
        str(path.relative_to(committed)) for path in committed.rglob("*") if path.is_file()
    )
    for name in names:
        assert (out / name).read_bytes() == (committed / name).read_bytes(), f"{name}: run `make web`"
    assert "resolved" not in (web / "package-lock.json").read_text()
    text = (out / "assets" / "app.js").read_text() + (out / "index.html").read_text()
    assert "https://" not in text.replace("https://preactjs.com", "").replace("https://github.com", "")
