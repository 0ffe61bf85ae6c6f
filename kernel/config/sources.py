"""Where settings come from. An explicit argument wins over SHOAL_… variables, those over a file, that over defaults."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from shoal.config.table import ARGUMENT, Config, bad_value, environment_name, kinds
from shoal.errors import ConfigError

FILE_NAME = "shoal.toml"
# Names with two underscores are Shoal's own processes talking to each other, not settings.
INTERNAL_PREFIX = "SHOAL__"


def load_config(
    arguments: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    start_directory: str | os.PathLike[str] | None = None,
) -> Config:
    """Read the settings of a session.

    `arguments` that are None count as not given. `environ` is the process's environment if None, `start_directory`
    the current folder: from there upward the first `shoal.toml`, or `pyproject.toml` with a [tool.shoal] table, is
    read. Raises ConfigError for an unknown name or a wrong value; an unknown SHOAL_ variable only warns, since
    an environment is shared by many programs.

    Example: `load_config({"num_cpus": 2}).where_from("num_cpus")` is `"argument"`.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}

    def take(name: str, value: Any, origin: str, text: bool = False) -> None:
        kind = kinds()[name]
        try:
            values[name] = kind.parse(value) if text else kind(value)
        except ValueError as error:
            raise bad_value(name, value, origin, error) from None
        origins[name] = origin

    path, table = _find_file(Path.cwd() if start_directory is None else Path(start_directory))
    _refuse_unknown(table, f"file {path}")
    for name, value in table.items():
        take(name, value, f"file {path}")

    environ = os.environ if environ is None else environ
    _warn_of_unknown(environ)
    for name in kinds():
        if (variable := environment_name(name)) in environ:
            take(name, environ[variable], f"environment variable {variable}", text=True)

    given = {name: value for name, value in (arguments or {}).items() if value is not None}
    _refuse_unknown(given, ARGUMENT)
    for name, value in given.items():
        take(name, value, ARGUMENT)
    return Config(**values, origins=origins)


def _find_file(start: Path) -> tuple[Path | None, Mapping[str, Any]]:
    """Return the nearest file with settings and its table; no file is parsed unless it has one."""
    start = start.absolute()
    for folder in (start, *start.parents):
        path = folder / FILE_NAME
        if path.is_file():
            return path, read_toml(path)
        path = folder / "pyproject.toml"
        if path.is_file() and b"tool.shoal" in path.read_bytes():
            table = read_toml(path).get("tool", {}).get("shoal")
            if table is not None:
                return path, table
    return None, {}


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file. Raises ConfigError, naming the file, and the line if it is wrong."""
    import sys

    # Imported here since it costs 10 ms, and most programs have no file of settings.
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    return table


def _refuse_unknown(names: Iterable[str], origin: str) -> None:
    known = kinds()
    for name in names:
        if name not in known:
            raise ConfigError(
                f"there is no setting {name!r} (from {origin}){_nearest(name, known)} `shoal config` lists all."
            )


def _warn_of_unknown(environ: Mapping[str, str]) -> None:
    known = {environment_name(name) for name in kinds()}
    for variable in environ:
        if (
            variable.startswith("SHOAL_")
            and variable not in known
            and not variable.startswith(INTERNAL_PREFIX)
        ):
            warnings.warn(
                f"environment variable {variable} sets nothing{_nearest(variable, known)}", stacklevel=3
            )


def _nearest(name: str, known: Iterable[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."
