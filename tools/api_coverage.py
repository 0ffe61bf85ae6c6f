"""How much of the reference system's public API is here: for each area, names present with the same parameters.

    python tools/api_coverage.py [TABLE.tsv ...] [--area util --area core] [--missing] [--json]

It reads two kinds of table, told apart by their first line: the public names with kind, stability and parameters, and
the further paths by which one of those names can be imported. Names are looked up through `shoal.compat`, as a program
would. A name counts if it is there, is the same kind of thing, takes each public parameter of the reference's, and
requires no other. Not compared are parameters that begin with an underscore or that the table marks `?`, and the
constructors of what only the system makes (a handle, a context).
"""

from __future__ import annotations

import argparse
import csv
import enum
import importlib
import inspect
import json
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

import shoal.compat
from shoal.api import options

DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "reference" / "ray_public_api.tsv"
PATHS = "import paths"


# Classes whose instances only the system makes: their constructors are its own affair.
MADE_BY_THE_SYSTEM = frozenset(
    {
        "ray.init()",
        "ray.ObjectRefGenerator",
        "ray.actor.ActorClass",
        "ray.actor.ActorHandle",
        "ray.actor.ActorMethod",
        "ray.client_builder.ClientContext",
        "ray.experimental.compiled_dag_ref.CompiledDAGFuture",
        "ray.experimental.compiled_dag_ref.CompiledDAGRef",
        "ray.remote_function.RemoteFunction",
        "ray.serve.Application",
        "ray.serve.Deployment",
        "ray.serve.config.AutoscalingContext",
        "ray.serve.context.ReplicaContext",
        "ray.serve.handle.DeploymentBroadcastResponse",
        "ray.serve.handle.DeploymentHandle",
        "ray.serve.handle.DeploymentResponse",
        "ray.serve.handle.DeploymentResponseGenerator",
        "ray.runtime_context.RuntimeContext",
        "ray.tune.TuneContext",
        "ray.types.ObjectRef",
    }
)


@attrs.frozen
class Row:
    """One name of the reference: where it is, what it is, and which parameters it takes."""

    area: str
    module: str
    name: str
    kind: str = ""
    stability: str = ""
    params: str = "?"
    same_as: str = ""  # module:name, for a further path of a name that is listed elsewhere

    @property
    def deprecated(self) -> bool:
        """Whether the reference itself will drop the name."""
        return self.stability.startswith("Deprecated")


@attrs.frozen
class Finding:
    """What became of one row: an empty complaint means that it counts."""

    row: Row
    complaint: str


def read(path: Path) -> list[Row]:
    """Read either kind of table. Raises SystemExit for a file that is neither."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        columns = set(reader.fieldnames or ())
        if {"area", "module", "name", "kind", "stability", "params"} <= columns:
            return [Row(**{name: line[name] or "" for name in COLUMNS}) for line in reader]
        if {"module", "name", "listed_module", "listed_name"} <= columns:
            return [
                Row(
                    PATHS,
                    line["module"],
                    line["name"],
                    same_as=f"{line['listed_module']}:{line['listed_name']}",
                )
                for line in reader
            ]
    raise SystemExit(
        f"{path} has the columns {', '.join(sorted(columns)) or 'none'}; that is neither kind of table"
    )


COLUMNS = ("area", "module", "name", "kind", "stability", "params")


def find(module: str, name: str) -> Any:
    """Return what the path names. Raises LookupError with the reason if it is not there."""
    try:
        found: Any = importlib.import_module(module)
    except ImportError as error:
        raise LookupError(f"no module {module}: {str(error).splitlines()[0]}") from None
    for part in name.split("."):
        made = part.endswith("()")
        part = part.removesuffix("()")
        try:
            # A class's own attribute: a property must not run, and a type's methods are not its instances'.
            found = inspect.getattr_static(found, part) if inspect.isclass(found) else getattr(found, part)
        except (AttributeError, ImportError) as error:
            raise LookupError(str(error).splitlines()[0] or f"no {part}") from None
        if made:
            found = returned(found)
        elif isinstance(found, property) and part != name.rpartition(".")[2]:
            found = class_of(found)
    return found


def class_of(attribute: property) -> Any:
    """Return the class that a property's annotation names, which its package exports."""
    getter = attribute.fget
    named = getter.__annotations__.get("return") if getter is not None else None
    package = importlib.import_module(getattr(getter, "__module__", "shoal").rpartition(".")[0])
    found = getattr(package, named, None) if isinstance(named, str) else named
    if not inspect.isclass(found):
        raise LookupError(f"it gives {named!r}, which is no class")
    return found


def returned(function: Any) -> Any:
    """Return the class that a function's annotation says it returns."""
    named = inspect.signature(function).return_annotation
    found = getattr(shoal, named, None) if isinstance(named, str) else named
    if not inspect.isclass(found):
        raise LookupError(f"it returns {named!r}, which is no class")
    return found


def complaint(row: Row) -> str:
    """Say why a row does not count, or nothing."""
    try:
        found = find(row.module, row.name)
    except LookupError as error:
        return str(error)
    if row.same_as:
        module, _, name = row.same_as.partition(":")
        try:
            listed = find(module, name)
        except LookupError as error:
            return f"{module}.{name}: {error}"
        return "" if found is listed else f"it is not {module}.{name}"
    return wrong_kind(row, found) or wrong_parameters(row, found)


def wrong_kind(row: Row, found: Any) -> str:
    """Say if it is another kind of thing than the reference's."""
    if row.kind == "exception" and not (inspect.isclass(found) and issubclass(found, BaseException)):
        return "it is no exception class"
    if row.kind == "class" and not (inspect.isclass(found) or callable(found)):
        return "it is no class"
    plain = found.__func__ if isinstance(found, (classmethod, staticmethod)) else found
    if row.kind in ("function", "method") and not callable(plain) and not hasattr(plain, "__get__"):
        return "it cannot be called"
    return ""


def wrong_parameters(row: Row, found: Any) -> str:
    """Say which parameters are missing, or required though the reference has them not."""
    if (
        row.params == "?"
        or row.kind in ("constant", "property")
        or f"{row.module}.{row.name}" in MADE_BY_THE_SYSTEM
    ):
        return ""
    if isinstance(found, enum.EnumMeta):
        return ""
    wanted = [name for name in row.params.split(",") if name]
    ours = parameters(found, "." in row.name and row.kind == "method", wanted)
    if ours is None:
        return ""
    named = [name for name in wanted if not name.startswith(("_", "*"))]
    lacking = [name for name in named if name not in ours.names]
    if row.kind != "exception":
        lacking += [name for name in wanted if name.startswith("**") and not ours.any_keyword]
        lacking += [name for name in wanted if re.match(r"\*\w", name) and not ours.any_positional]
    if lacking:
        return f"no parameter {', '.join(lacking)}"
    extra = sorted(ours.required - set(wanted))
    return (
        f"requires {', '.join(extra)}" if extra and not any(name.startswith("*") for name in wanted) else ""
    )


@attrs.frozen
class Parameters:
    """What one of our callables takes."""

    names: frozenset[str]
    required: frozenset[str]
    any_positional: bool
    any_keyword: bool


def parameters(found: Any, is_method: bool, wanted: list[str]) -> Parameters | None:
    """Return what a callable takes; None where Python cannot tell."""
    plain = found.__func__ if isinstance(found, (classmethod, staticmethod)) else found
    try:
        listed = list(inspect.signature(plain).parameters.values())
    except (TypeError, ValueError):
        return None
    # The table leaves out the first parameter of every method, also where a class has functions without `self`.
    if is_method and listed and not (isinstance(found, staticmethod) and listed[0].name in wanted):
        listed = listed[1:]
    # Our errors list by name what else they take.
    names, required = set(getattr(plain, "KEYWORDS", ())), set()
    any_positional = any_keyword = False
    for parameter in listed:
        if parameter.kind is parameter.VAR_POSITIONAL:
            any_positional = True
        elif parameter.kind is parameter.VAR_KEYWORD:
            any_keyword = True
            names |= set(keys_of(parameter.annotation, getattr(plain, "__globals__", {})))
        else:
            names.add(parameter.name)
            if parameter.default is parameter.empty:
                required.add(parameter.name)
    return Parameters(frozenset(names), frozenset(required), any_positional, any_keyword)


def keys_of(annotation: Any, seen: Mapping[str, Any]) -> Iterator[str]:
    """The names of `**options: Unpack[SomeOptions]`, which the function's module or the public API has."""
    unpacked = re.fullmatch(r"Unpack\[(\w+)\]", str(annotation))
    if unpacked:
        yield from (seen.get(unpacked[1]) or getattr(options, unpacked[1])).__annotations__


def table(findings: Iterable[Finding]) -> dict[str, dict[str, int]]:
    """Count by area."""
    areas: dict[str, dict[str, int]] = {}
    for finding in findings:
        area = areas.setdefault(
            finding.row.area, {"names": 0, "present": 0, "lasting": 0, "lasting_present": 0}
        )
        here = not finding.complaint
        area["names"] += 1
        area["present"] += here
        area["lasting"] += not finding.row.deprecated
        area["lasting_present"] += here and not finding.row.deprecated
    return areas


def share(part: int, whole: int) -> str:
    """A percentage that is 100 only if nothing is missing."""
    return f"{int(1000 * part / whole) / 10:.1f} %" if whole else "-"


def show(areas: dict[str, dict[str, int]]) -> None:
    """Print one line for each area."""
    print(f"{'area':<16}{'names':>7}{'present':>9}{'share':>10}{'not deprecated':>17}")
    for name, count in sorted(areas.items()):
        whole, lasting = (
            share(count["present"], count["names"]),
            share(count["lasting_present"], count["lasting"]),
        )
        print(f"{name:<16}{count['names']:>7}{count['present']:>9}{whole:>10}{lasting:>17}")


def main(arguments: list[str] | None = None) -> int:
    """Print the table; return the exit status."""
    os.environ.setdefault("KERAS_BACKEND", "torch")  # the one that is installed here
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument(
        "tables", nargs="*", type=Path, default=[DEFAULT], help=f"tables to read (default: {DEFAULT.name})"
    )
    parser.add_argument(
        "--area", action="append", default=[], metavar="NAME", help="only this area; may be repeated"
    )
    parser.add_argument("--missing", action="store_true", help="list what does not count, and why")
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    asked = parser.parse_args(arguments)
    absent = [str(path) for path in asked.tables if not path.is_file()]
    if absent:
        parser.error(f"no such file: {', '.join(absent)}")
    rows = [row for path in asked.tables for row in read(path) if not asked.area or row.area in asked.area]
    shoal.compat.install()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries that are imported on the way
        findings = [Finding(row, complaint(row)) for row in rows]
    areas = table(findings)
    missing = [finding for finding in findings if finding.complaint]
    if asked.json:
        listed = [attrs.asdict(finding.row) | {"complaint": finding.complaint} for finding in missing]
        print(json.dumps({"areas": areas, "missing": listed}, indent=1))
        return 0
    show(areas)
    if asked.missing:
        for finding in missing:
            print(f"{finding.row.area}: {finding.row.module}.{finding.row.name}: {finding.complaint}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
