"""Archives that mean harm, or are broken, write nothing outside of their folder and say what is wrong."""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path

import pytest

from shoal.environments.package import digest
from shoal.environments.unpack import unpack
from shoal.errors import RuntimeEnvSetup


def archive(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as target:
        for name, data in members:
            target.writestr(name, data)
    return path


def special(name: str, kind: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (kind | 0o777) << 16
    return info


def refused(package: Path, folder: Path, limit: int = 1 << 20) -> str:
    """Return the reason, after checking that nothing was written anywhere near."""
    folder.mkdir()
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(RuntimeEnvSetup) as caught:
        unpack(str(package), digest(str(package)), str(folder), limit)
    assert sorted(folder.parent.rglob("*")) == before
    return str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "../evil.py",
        "a/../../evil.py",
        "/evil.py",
        "a//evil.py",
        "..",
        "a/./b",
        "C:/evil.py",
        "a\\..\\evil.py",
    ],
)
def test_a_name_that_leads_out(tmp_path: Path, name: str) -> None:
    package = archive(tmp_path / "p.zip", ("good.py", b"1"), (name, b"evil"))
    assert "unsafe name" in refused(package, tmp_path / "out")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFBLK, stat.S_IFCHR, stat.S_IFSOCK])
def test_a_link_or_special_file(tmp_path: Path, kind: int) -> None:
    package = archive(
        tmp_path / "p.zip", ("good.py", b"1"), (special("evil", kind), b"/etc"), ("evil/x", b"1")
    )
    assert "link or special file" in refused(package, tmp_path / "out")


def test_a_file_that_unpacks_to_too_much(tmp_path: Path) -> None:
    package = tmp_path / "bomb.zip"
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("zeros", bytes(2_000_000))
    assert "2,000,000 bytes" in refused(package, tmp_path / "out")


def test_a_file_that_lies_about_its_size(tmp_path: Path) -> None:
    package = tmp_path / "bomb.zip"
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("zeros", bytes(2_000_000))
    data = package.read_bytes()
    package.write_bytes(data.replace((2_000_000).to_bytes(4, "little"), (1_000).to_bytes(4, "little")))
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(RuntimeEnvSetup, match="cannot unpack"):
        unpack(str(package), digest(str(package)), str(folder))
    assert sum(path.stat().st_size for path in folder.rglob("*")) <= 1_000


def test_the_same_name_twice_does_not_overwrite(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        package = archive(tmp_path / "p.zip", ("a.py", b"first"), ("a.py", b"second"))
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(RuntimeEnvSetup, match="cannot unpack"):
        unpack(str(package), digest(str(package)), str(folder))
    assert (folder / "a.py").read_bytes() == b"first"


def test_a_changed_package(tmp_path: Path) -> None:
    package = archive(tmp_path / "p.zip", ("a.py", b"1"))
    expected = digest(str(package))
    archive(tmp_path / "p.zip", ("a.py", b"2"))
    with pytest.raises(RuntimeEnvSetup, match="was changed"):
        unpack(str(package), expected, str(tmp_path))


@pytest.mark.parametrize("data", [b"", b"not a zip", b"PK\x03\x04 cut"])
def test_what_is_no_archive(tmp_path: Path, data: bytes) -> None:
    package = tmp_path / "p.zip"
    package.write_bytes(data)
    assert "cannot unpack" in refused(package, tmp_path / "out")


def test_a_missing_package(tmp_path: Path) -> None:
    with pytest.raises(RuntimeEnvSetup, match=r"gone\.zip"):
        unpack(str(tmp_path / "gone.zip"), "0" * 64, str(tmp_path))


def test_modes_beyond_execution_are_not_taken_over(tmp_path: Path) -> None:
    package = archive(
        tmp_path / "p.zip", (special("run.sh", stat.S_IFREG | stat.S_ISUID), b"x"), ("plain.txt", b"y")
    )
    folder = tmp_path / "out"
    folder.mkdir()
    unpack(str(package), digest(str(package)), str(folder))
    assert os.access(folder / "run.sh", os.X_OK)
    assert not (folder / "run.sh").stat().st_mode & (stat.S_ISUID | 0o022)
    assert not (folder / "plain.txt").stat().st_mode & 0o111
