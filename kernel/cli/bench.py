"""`shoal bench`: runs the benchmark of a checkout."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click

from shoal.observe.commands import json_option

_RESULTS = Path("benchmarks", "results", "latest.json")


@click.command(context_settings={"ignore_unknown_options": True})
@json_option("Print the results as JSON; what is said on the way goes to standard error.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def bench(words: tuple[str, ...], json_: bool) -> None:
    """Measure Shoal beside Ray and beside the machine's floor.

    It needs a checkout of Shoal, in this folder or one above: the benchmark is not installed. WORDS are the benchmark's
    own, such as --quick or --rows PATTERN; `shoal bench -- --help` lists them. Ray is measured where it is installed.
    """
    root = _find_checkout(Path.cwd())
    command = [sys.executable, str(root / "benchmarks" / "run.py"), *words]
    if json_ and "--write" not in words:
        command.append("--write")  # a part of the rows is otherwise printed and not kept
    done = subprocess.run(command, cwd=root, stdout=sys.stderr if json_ else None, check=False)
    if json_ and done.returncode == 0:
        click.echo(json.dumps(json.loads((root / _RESULTS).read_text()), indent=2))
    raise click.exceptions.Exit(done.returncode)


def _find_checkout(start: Path) -> Path:
    for folder in (start, *start.parents):
        if (folder / "benchmarks" / "run.py").is_file() and (folder / "kernel" / "cli").is_dir():
            return folder
    raise click.ClickException(
        f"there is no checkout of Shoal in {start} or above it. The benchmark is part of Shoal's source and is not "
        "installed with it: get the source, and run `make bench` there, or `shoal bench` with what it needs installed "
        "(pip install 'shoal[bench]')."
    )
