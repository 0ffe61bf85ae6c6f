"""tools/api_coverage.py counts what is here, and says why the rest does not count."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from shoal import compat

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("api_coverage", ROOT / "tools" / "api_coverage.py")
assert spec is not None
assert spec.loader is not None
spec.loader.exec_module(api_coverage := importlib.util.module_from_spec(spec))

HEADER = "area\tmodule\tname\tkind\tstability\tparams\n"


@pytest.fixture(autouse=True)
def _alias_goes_again() -> Iterator[None]:
    yield
    compat.uninstall()


def coverage(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> tuple[dict, dict[str, str]]:  # type: ignore[type-arg]
    (path := tmp_path / "table.tsv").write_text(text)
    assert api_coverage.main([str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    return found["areas"], {row["name"]: row["complaint"] for row in found["missing"]}


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("ray\tget\tfunction\tPublicAPI\tobject_refs,timeout,_private", ""),
        ("ray\tget\tfunction\tPublicAPI\tobject_refs,no_such", "no parameter no_such"),
        ("ray\tput\tfunction\tPublicAPI\t", "requires value"),
        ("ray\tremote\tfunction\tPublicAPI\tnum_cpus,max_restarts", ""),
        ("ray\tremote\tfunction\tPublicAPI\tno_such_option", "no parameter no_such_option"),
        ("ray\tno_such_name\tfunction\tPublicAPI\t", "ray.no_such_name is not in Shoal yet"),
        ("ray.no_such_module\tname\tfunction\tPublicAPI\t", "no module ray.no_such_module"),
        ("ray.exceptions\tRayTaskError\texception\tPublicAPI\tfunction_name,pid", ""),
        ("ray.exceptions\tRayTaskError\texception\tPublicAPI\tno_such", "no parameter no_such"),
        ("ray\tget\texception\tPublicAPI\t", "it is no exception class"),
        ("ray\tinit().disconnect\tmethod\tunmarked\t", ""),
        ("ray.util\tActorPool.get_next\tmethod\tDeveloperAPI\ttimeout,ignore_if_timedout", ""),
        ("ray.util\tActorPool.no_such\tmethod\tDeveloperAPI\t", "no_such"),
    ],
)
def test_a_row_counts_or_says_why_not(
    row: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    areas, missing = coverage(tmp_path, capsys, f"{HEADER}core\t{row}\n")
    assert areas["core"]["names"] == 1
    assert areas["core"]["present"] == (0 if complaint else 1)
    assert list(missing.values()) == ([] if not complaint else [next(iter(missing.values()))])
    assert complaint in "".join(missing.values())


def test_paths_are_compared_with_the_listed_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (
        "module\tname\tlisted_module\tlisted_name\n"
        "ray.util.multiprocessing.pool\tPool\tray.util.multiprocessing\tPool\n"
        "ray.types\tObjectRef\tray\tActorID\n"
    )
    areas, missing = coverage(tmp_path, capsys, text)
    assert (areas["import paths"]["names"], areas["import paths"]["present"]) == (2, 1)
    assert missing == {"ObjectRef": "it is not ray.ActorID"}


def test_deprecated_names_are_also_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path := tmp_path / "table.tsv").write_text(
        f"{HEADER}core\tray\tget\tfunction\tPublicAPI\tobject_refs\ncore\tray\tgone\tfunction\tDeprecated\t\n"
    )
    assert api_coverage.main([str(path), "--missing"]) == 0
    header, row, missing = capsys.readouterr().out.splitlines()
    assert header.split()[:2] == ["area", "names"]
    assert row.split() == ["core", "2", "1", "50.0", "%", "100.0", "%"]
    assert missing.startswith("core: ray.gone: ")


def test_wrong_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path := tmp_path / "other.tsv").write_text("a\tb\n")
    with pytest.raises(SystemExit, match="neither kind of table"):
        api_coverage.main([str(path)])
    with pytest.raises(SystemExit):
        api_coverage.main([str(tmp_path / "missing.tsv")])
    assert "no such file" in capsys.readouterr().err


@pytest.mark.skipif(
    not api_coverage.DEFAULT.is_file(), reason="the reference's table is not beside this checkout"
)
def test_what_was_reached_stays(capsys: pytest.CaptureFixture[str]) -> None:
    # Shares of today, in percent, rounded down: they may only rise.
    least = {"core": 85, "exceptions": 96, "handles": 79, "runtime_context": 100, "state": 96, "util": 78}
    assert api_coverage.main(["--json"]) == 0
    areas = json.loads(capsys.readouterr().out)["areas"]
    shares = {name: 100 * areas[name]["present"] // areas[name]["names"] for name in least}
    assert {name: share for name, share in shares.items() if share < least[name]} == {}
