"""docs/errors.md tells of every error that there is, in the module's order, with the right parents."""

from __future__ import annotations

import inspect
import re

import pytest
from doc_pages import ROOT

from shoal import errors

PAGE = (ROOT / "docs" / "errors.md").read_text()
SECTIONS = dict(re.findall(r"^## (\w+)\n\n(.*?)(?=^## |\Z)", PAGE, flags=re.M | re.S))
ERRORS = {
    name: member
    for name, member in vars(errors).items()
    if inspect.isclass(member) and issubclass(member, errors.ShoalError) and not name.startswith("_")
}


def public_parents(error: type) -> set[str]:
    """Return the nearest parents that a user can name."""
    found: set[str] = set()
    for base in error.__bases__:
        found |= public_parents(base) if base.__name__.startswith("_") else {base.__name__}
    return found


def test_every_error_has_a_section_in_the_order_of_the_module() -> None:
    assert list(SECTIONS) == list(ERRORS)


@pytest.mark.parametrize("name", ERRORS)
def test_a_section_names_parents_occasion_and_cure(name: str) -> None:
    parents, _, rest = SECTIONS[name].partition("\n")
    assert parents.startswith("**Is a** ")
    assert set(re.findall(r"`(\w+)`", parents)) == public_parents(ERRORS[name])
    assert "**Comes** " in rest
    assert "**Do:** " in rest


@pytest.mark.parametrize("name", ERRORS)
def test_the_tree_of_the_module_holds_the_error(name: str) -> None:
    assert re.search(rf"\b{name}\b", errors.__doc__ or "")
