"""What only this package knows to test: the file. The contract is run by name, see the README."""

from __future__ import annotations

from pathlib import Path

import pytest
from shoal_sample_plugin.jsonlines import JsonLinesMetadata

from shoal.errors import ConfigError
from shoal.interfaces.metadata import Write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records"


def test_a_line_cut_short_by_a_crash_is_removed_by_the_next_one(path: Path) -> None:
    first = JsonLinesMetadata(str(path))
    first.apply([Write("t", b"a", b"1")])
    whole = path.read_bytes()
    first.close()
    path.write_bytes(whole + b'[["t", "62", "3')
    second = JsonLinesMetadata(str(path))
    assert second.items("t") == [(b"a", b"1")]
    assert path.read_bytes() == whole
    second.close()


def test_two_open_stores_see_each_other(path: Path) -> None:
    first, second = JsonLinesMetadata(str(path)), JsonLinesMetadata(str(path), {"sync": False})
    assert first.put_if_absent("t", b"a", b"1")
    assert not second.put_if_absent("t", b"a", b"2")
    second.apply([Write("t", b"a", None), Write("t", b"b", b"2")])
    assert first.items("t") == [(b"b", b"2")]
    first.close()
    second.close()


def test_a_location_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"metadata store 'jsonlines' cannot open '.*absent/file'"):
        JsonLinesMetadata(str(tmp_path / "absent" / "file"))
