"""docs/moving_from_ray.md says what is so: names that are the same are here, those that are absent are not."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from shoal import errors
from shoal.compat import exceptions
from shoal.compat.environ import VARIABLES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "moving_from_ray.md").read_text()


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def first_cells(title: str) -> list[str]:
    rows = re.findall(r"^\| (.*?) \|", section(title), flags=re.M)
    return [name for row in rows for name in re.findall(r"`(ray\.[\w.]+)`", row)]


def find(path: str) -> Any:
    parts = path.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            if count == 1:
                raise
            continue
        for name in parts[count:]:
            found = getattr(found, name)
        return found
    raise AssertionError(path)


@pytest.mark.usefixtures("alias")
@pytest.mark.parametrize("path", first_cells("The same"))
def test_what_is_called_the_same_is_here(path: str) -> None:
    assert find(path) is not None


@pytest.mark.usefixtures("alias")
@pytest.mark.parametrize("path", first_cells("Absent"))
def test_what_is_called_absent_is_not_here(path: str) -> None:
    with pytest.raises((ImportError, AttributeError), match="is not in Shoal yet"):
        find(path)


def test_the_table_of_errors_is_that_of_the_code() -> None:
    pairs = re.findall(r"^\| `(\w+)` \| `(\w+)` \|$", section("Different"), flags=re.M)
    pairs = [pair for pair in pairs if not pair[0].startswith("RAY_")]
    assert len(pairs) > 10
    for theirs, ours in pairs:
        assert getattr(exceptions, theirs) is getattr(errors, ours)


def test_the_table_of_variables_is_that_of_the_code() -> None:
    pairs = dict(re.findall(r"^\| `(RAY_\w+)` \| `(SHOAL_\w+)` \|$", section("Different"), flags=re.M))
    assert pairs == {theirs: ours for theirs, (ours, _) in VARIABLES.items()}
