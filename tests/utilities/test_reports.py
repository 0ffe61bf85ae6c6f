"""Reports of long work: what was told last, bounded, and refused where it cannot be kept."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import shoal
from shoal.util.reports import tell, told


@pytest.fixture(params=["inline", pytest.param("native", marks=pytest.mark.processes)])
def session(request: pytest.FixtureRequest) -> Iterator[None]:
    with shoal.init(engine=request.param, num_cpus=1):
        yield


def test_what_was_told_last_is_there_for_everybody(session: None) -> None:
    assert tell("work", "a/b", {"rows": 1})
    assert tell("work", "a/b", {"rows": 2})
    assert tell("other", "c", {})

    @shoal.remote
    def look() -> list[tuple[str, int]]:
        return [(report.name, report.facts["rows"]) for report in told("work")]

    assert shoal.get(look.remote(), timeout=30) == [("a/b", 2)]


def test_the_newest_hundred_of_a_kind_are_kept(session: None) -> None:
    for number in range(103):
        tell("work", str(number), {"number": number})
    assert [report.facts["number"] for report in told("work")] == list(range(102, 2, -1))


def test_what_cannot_be_kept_is_refused(session: None) -> None:
    with pytest.raises(ValueError, match="without a slash"):
        tell("a/b", "c", {})
    with pytest.raises(ValueError, match="at most 262144 bytes"):
        tell("a", "b", {"text": "x" * (1 << 18)})
    with pytest.raises(TypeError):
        tell("a", "b", {"what": object()})


def test_without_a_session_nobody_listens() -> None:
    assert not tell("a", "b", {})
    assert told("a") == []
