"""Every Python block of every page runs, prints what the page says it prints, and the commands beside it succeed."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from doc_pages import KNOWN_MARKS, PAGES, ROOT, Block, blocks

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RUN_BY_US = {"python", "output", "toml"}
COMMANDS = {"pytest", "python", "shoal"}  # what a console block may run: nothing that installs or downloads
WITH_CODE = [
    # A page on plugins runs a contract, which can take half a minute.
    pytest.param(page, marks=[pytest.mark.slow] if page.parent.name == "plugins" else [])
    for page in PAGES
    if any(block.language == "python" for block in blocks(page))
]


class Reader:
    """Someone who follows a page: saves its files, registers its plugins, runs its programs in a new folder."""

    def __init__(self, page: Path, folder: Path) -> None:
        self.page = page.relative_to(ROOT).as_posix()
        self.folder = folder
        self.program: list[Block] = []
        self.printed = ""
        self.shown = ""  # of the output of the same program, above
        self.scripts = Path(sysconfig.get_path("scripts"))

    def follow(self, todo: list[Block]) -> None:
        for index, block in enumerate(todo):
            if block.mark == "not run":
                continue
            if block.language == "toml":
                self.register(block)
            elif block.language == "output":
                # A program that goes on shows what is new only.
                printed = self.printed.removeprefix(self.shown)
                assert printed == block.text, f"{self.page}:{block.line}: this is what was printed"
                self.shown = self.printed
            elif block.mark == "file":
                (self.folder / block.value).write_text(block.text)
            elif block.language == "python":
                if block.mark != "goes on":
                    self.program, self.shown = [], ""
                self.program.append(block)
                if not (index + 1 < len(todo) and todo[index + 1].mark == "goes on"):
                    self.run_program()
            elif block.mark == "run":
                self.run_commands(block)

    def run_program(self) -> None:
        first = self.program[0]
        script = self.folder / f"line_{first.line}.py"
        # Empty lines in front, so that a traceback names the line of the page.
        lines: list[str] = []
        for block in self.program:
            lines += [""] * (block.line - len(lines)) + block.text.splitlines()
        script.write_text("\n".join(lines) + "\n")
        engine = first.value if first.mark == "engine" else "native"
        done = self.run([sys.executable, str(script)], SHOAL_ENGINE=engine, PYTHONWARNINGS="error")
        assert done.returncode == 0, f"{self.page}:{first.line} fails\n{done.stdout}{done.stderr}"
        self.printed = done.stdout

    def run_commands(self, block: Block) -> None:
        for line in block.text.splitlines():
            if not line.startswith("$ "):
                continue
            words = shlex.split(line[2:], comments=True)
            assert words[0] in COMMANDS, f"{self.page}:{block.line} runs {words[0]}"
            options = ["-p", "no:cacheprovider", "-q"] if words[0] == "pytest" else []
            done = self.run([str(self.scripts / words[0]), *options, *words[1:]])
            assert done.returncode == 0, f"{self.page}:{block.line}: {line} fails\n{done.stdout}{done.stderr}"
            self.printed = done.stdout

    def register(self, block: Block) -> None:
        """Write what installing a distribution with these entry points would leave in site-packages."""
        groups = tomllib.loads(block.text).get("project", {}).get("entry-points", {})
        if not groups:
            return
        info = self.folder / "of_the_page-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: of-the-page\nVersion: 1.0\n")
        with (info / "entry_points.txt").open("a") as file:
            for group, plugins in groups.items():
                file.write(
                    f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in plugins.items())
                )

    def run(self, command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("SHOAL_", "PYTEST_"))
        }
        environment = {**kept, "PYTHONPATH": str(self.folder), **variables}
        return subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
            stdin=subprocess.DEVNULL,
        )


@pytest.mark.processes
@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    Reader(page, tmp_path).follow(blocks(page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_block_says_what_it_is(page: Path) -> None:
    for block in blocks(page):
        where = f"{page.name}:{block.line}"
        assert block.language or block.mark == "not run" or page.name == "README.md", (
            f"{where} names no language"
        )
        if block.mark in KNOWN_MARKS and block.mark not in ("goes on", "run"):
            assert block.value, f"{where}: {block.mark!r} says nothing"


def test_a_program_that_fails_is_noticed(tmp_path: Path) -> None:
    page = ROOT / "docs" / "none.md"
    with pytest.raises(AssertionError, match=r"docs/none\.md:3 fails(?s:.*)line 4(?s:.*)ZeroDivisionError"):
        Reader(page, tmp_path).follow([Block(line=3, language="python", text="1 / 0\n")])


def test_another_output_is_noticed(tmp_path: Path) -> None:
    page = ROOT / "docs" / "none.md"
    program = Block(line=3, language="python", text="print(1)\n")
    with pytest.raises(AssertionError, match="this is what was printed"):
        Reader(page, tmp_path).follow([program, Block(line=6, language="output", text="2\n")])
