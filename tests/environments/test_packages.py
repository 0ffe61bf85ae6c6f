"""What is shipped of a folder, and that equal folders give equal packages."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from shoal.environments import package as packaging
from shoal.environments.env_vars import EnvVarsStep
from shoal.environments.package import cache_folder, keep_archive, pack_folder
from shoal.environments.py_modules import PyModulesStep
from shoal.environments.working_dir import WorkingDirStep
from shoal.errors import ConfigError


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__slash__", "/").replace("__dot__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def tree(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def names(package: str) -> list[str]:
    with zipfile.ZipFile(package) as found:
        return found.namelist()


def test_equal_contents_give_equal_packages_whatever_their_times(tmp_path: Path) -> None:
    one, two = tree(tmp_path / "1", "b", "a/x"), tree(tmp_path / "2", "a/x", "b")
    os.utime(two / "b", (0, 0))
    assert pack_folder(str(one)) == pack_folder(str(two))


@pytest.mark.parametrize("change", ["content", "name", "mode", "more"])
def test_any_change_gives_another_package(tmp_path: Path, change: str) -> None:
    folder = tree(tmp_path / "p", "a")
    before = pack_folder(str(folder))
    if change == "content":
        (folder / "a").write_text("b")
    elif change == "name":
        (folder / "a").rename(folder / "b")
    elif change == "mode":
        (folder / "a").chmod(0o755)
    else:
        tree(folder, "c")
    assert pack_folder(str(folder)) != before


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        ([], ["a.csv", "data/b.csv", "data/deep/c.csv", "main.py"]),
        (["*.csv"], ["main.py"]),
        (["/*.csv"], ["data/b.csv", "data/deep/c.csv", "main.py"]),
        (["data"], ["a.csv", "main.py"]),
        (["data/"], ["a.csv", "main.py"]),
        (["main.py/"], ["a.csv", "data/b.csv", "data/deep/c.csv", "main.py"]),
        (["data/*.csv"], ["a.csv", "data/deep/c.csv", "main.py"]),
        (["data/**/*.csv"], ["a.csv", "main.py"]),
        (["**/deep"], ["a.csv", "data/b.csv", "main.py"]),
        (["*.csv", "!a.csv"], ["a.csv", "main.py"]),
        (["[ab].csv"], ["data/deep/c.csv", "main.py"]),
        (["[!ab].csv"], ["a.csv", "data/b.csv", "main.py"]),
        (["?.csv", "# *.py", ""], ["main.py"]),
        (["deep/c.csv"], ["a.csv", "data/b.csv", "data/deep/c.csv", "main.py"]),
    ],
)
def test_patterns(tmp_path: Path, patterns: list[str], left: list[str]) -> None:
    folder = tree(tmp_path / "p", "a.csv", "data/b.csv", "data/deep/c.csv", "main.py")
    assert names(pack_folder(str(folder), patterns)[0]) == left


def test_history_and_bytecode_stay_at_home(tmp_path: Path) -> None:
    folder = tree(tmp_path / "p", ".git/HEAD", "a/__pycache__/x.pyc", "a/x.py", "y.pyc")
    assert names(pack_folder(str(folder))[0]) == ["a/x.py"]


def test_ignore_files_are_honoured_where_they_lie(tmp_path: Path) -> None:
    folder = tree(tmp_path / "p", "x.log", "in/x.log", "in/y.tmp", "y.tmp")
    (folder / ".gitignore").write_text("*.log\n")
    (folder / "in" / ".shoalignore").write_text("*.tmp\n!x.log\n")
    assert names(pack_folder(str(folder))[0]) == [".gitignore", "in/.shoalignore", "in/x.log", "y.tmp"]


def test_links_are_followed_once(tmp_path: Path) -> None:
    folder = tree(tmp_path / "p", "in/a")
    tree(tmp_path, "outside/b")
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "in" / "round").symlink_to(folder)
    (folder / "gone").symlink_to(tmp_path / "nowhere")
    os.mkfifo(folder / "pipe")
    assert names(pack_folder(str(folder))[0]) == ["in/a", "link/b"]


def test_too_much_is_refused_with_the_largest_named(tmp_path: Path) -> None:
    folder = tree(tmp_path / "p", "small")
    (folder / "model.bin").write_bytes(bytes(5000))
    with pytest.raises(ConfigError, match=r"at most 4,000.*excludes.*model\.bin \(5,000 bytes\)"):
        pack_folder(str(folder), limit=4000)


def test_the_cache_is_refused_when_others_can_write_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packaging.tempfile, "gettempdir", lambda: str(tmp_path))
    os.chmod(cache_folder(), 0o777)
    with pytest.raises(ConfigError, match="only user"):
        cache_folder()


def test_the_cache_forgets_old_packages_when_there_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packaging.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(packaging, "_CACHE_LIMIT", 1)
    old, _ = pack_folder(str(tree(tmp_path / "1", "a")))
    os.utime(old, (0, 0))
    fresh, _ = pack_folder(str(tree(tmp_path / "2", "b")))
    newest, _ = pack_folder(str(tree(tmp_path / "3", "c")))
    assert [os.path.exists(each) for each in (old, fresh, newest)] == [False, True, True]


def test_a_worker_finds_its_folder(tmp_path: Path) -> None:
    project = write(
        tmp_path / "p", main__dot__py="import helper; print(helper.x)", helper__dot__py="x = 41 + 1"
    )
    place = tmp_path / "built"
    place.mkdir()
    step = WorkingDirStep()
    changes = step.build(step.check(str(project)), str(place))
    ran = subprocess.run(
        [sys.executable, "main.py"], cwd=changes.working_folder, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "42\n"


def test_a_zip_file_is_a_working_folder_too(tmp_path: Path) -> None:
    path, found = keep_archive(pack_folder(str(tree(tmp_path / "p", "a/b")))[0])
    step = WorkingDirStep()
    assert step.check(path) == {"uri": path, "hash": found}
    place = tmp_path / "built"
    place.mkdir()
    step.build(step.check(path), str(place))
    assert (place / "a" / "b").read_text() == "a/b"


def test_modules_of_every_kind_can_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "shoal_made_pkg", __init____dot__py="kind = 'folder'")
    write(tmp_path, shoal_made_file__dot__py="kind = 'file'")
    inside = write(tmp_path / "z", shoal_made_zip__dot__py="kind = 'zip'")
    wheel = tmp_path / "made-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as target:
        target.writestr("made-1.0.data/purelib/shoal_made_wheel.py", "kind = 'wheel'")
    write(tmp_path / "on_path", shoal_made_module__dot__py="kind = 'module'")
    monkeypatch.syspath_prepend(tmp_path / "on_path")
    module = importlib.import_module("shoal_made_module")
    step = PyModulesStep()
    canonical = step.check(
        [
            tmp_path / "shoal_made_pkg",
            str(tmp_path / "shoal_made_file.py"),
            pack_folder(str(inside))[0],
            wheel,
            module,
        ]
    )
    place = tmp_path / "built"
    place.mkdir()
    changes = step.build(canonical, str(place))
    kinds = ("pkg", "file", "zip", "wheel", "module")
    code = "; ".join(f"import shoal_made_{kind} as m; print(m.kind)" for kind in kinds)
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=place,
        env={"PYTHONPATH": os.pathsep.join(changes.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split() == ["folder", "file", "zip", "wheel", "module"]


def test_a_builtin_module_cannot_be_shipped() -> None:
    with pytest.raises(ConfigError, match=r"py_modules'\]\[0\].*'sys'"):
        PyModulesStep().check([sys])


def test_variables_may_refer_to_the_worker_s_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SHOAL_TEST_OLD", "/old")
    step = EnvVarsStep()
    value = step.check({"A": "/new:${SHOAL_TEST_OLD}", "B": "$SHOAL_TEST_OLD", "C": "${SHOAL_TEST_UNSET}x"})
    assert step.build(value, str(tmp_path)).variables == {"A": "/new:/old", "B": "$SHOAL_TEST_OLD", "C": "x"}
