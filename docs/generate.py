"""Write what docs/ takes from the code: the API pages from docstrings, and the tables of messages in wire.md.

python docs/generate.py        # part of `make docs`; a test fails when a page is out of date
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

import shoal
from shoal.api.options import OPTIONS
from shoal.ids import Identifier
from shoal.native.wire import kinds

HERE = Path(__file__).resolve().parent

# Every public name, on the page where a reader looks for it. A test compares this with shoal.__all__.
PAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "session.md": (
        "Sessions",
        ("init", "shutdown", "is_initialized", "SessionContext", "__version__"),
    ),
    "tasks.md": ("Tasks", ("remote", "RemoteFunction", "cancel")),
    "objects.md": (
        "Objects",
        ("get", "put", "wait", "free", "ObjectRef", "ObjectRefGenerator", "DynamicObjectRefGenerator"),
    ),
    "serializers.md": (
        "Serializers",
        ("register_serializer", "deregister_serializer", "inspect_serializability", "FailureTuple"),
    ),
    "actors.md": (
        "Actors",
        (
            "ActorClass",
            "ActorHandle",
            "ActorMethod",
            "method",
            "get_actor",
            "list_named_actors",
            "kill",
            "exit_actor",
        ),
    ),
    "placement.md": (
        "Placement",
        (
            "placement_group",
            "PlacementGroup",
            "remove_placement_group",
            "get_placement_group",
            "get_current_placement_group",
            "placement_group_table",
            "PlacementGroupSchedulingStrategy",
            "NodeAffinitySchedulingStrategy",
            "NodeLabelSchedulingStrategy",
            "In",
            "NotIn",
            "Exists",
            "DoesNotExist",
        ),
    ),
    "looking_in.md": (
        "Looking in",
        (
            "nodes",
            "cluster_resources",
            "available_resources",
            "timeline",
            "explain",
            "get_runtime_context",
            "RuntimeContext",
            "get_gpu_ids",
        ),
    ),
    "identifiers.md": (
        "Identifiers",
        ("ActorID", "JobID", "NodeID", "ObjectID", "PlacementGroupID", "TaskID", "WorkerID"),
    ),
}
ELSEWHERE = {"exceptions": "The module of [errors](../errors.md)."}
_NOTE = "Made by `make docs` from the docstrings.\n"
_TABLES = ("<!-- made by `make docs` from kinds.py -->\n", "<!-- until here -->\n")


def pages() -> dict[str, str]:
    """Return every page that this makes, by its path below docs/."""
    made = {f"api/{name}": _page(name, title, names) for name, (title, names) in PAGES.items()}
    made["api/index.md"] = _index()
    made["api/options.md"] = _options()
    made["wire.md"] = _with_tables((HERE / "wire.md").read_text())
    return made


# The API


def _index() -> str:
    parts = [
        "# The API\n",
        _NOTE,
        "All names are in `shoal`. Options are in [a table of their own](options.md).\n",
    ]
    for page, (title, names) in PAGES.items():
        rows = [f"| [`{name}`]({page}#{_anchor(name)}) | {_summary(name)} |" for name in names]
        parts.append("\n".join([f"## [{title}]({page})\n", "| name | |", "| --- | --- |", *rows]) + "\n")
    rows = [f"| `{name}` | {text} |" for name, text in ELSEWHERE.items()]
    parts.append("\n".join(["## Elsewhere\n", "| name | |", "| --- | --- |", *rows]) + "\n")
    return "\n".join(parts)


def _page(page: str, title: str, names: tuple[str, ...]) -> str:
    parts = [f"# {title}\n", _NOTE]
    if page == "identifiers.md":
        parts += ["## Every identifier\n", *_described("Identifier", Identifier)]
    for name in names:
        parts.append(f"## {name}\n")
        parts.extend(_described(name, getattr(shoal, name)))
    return "\n".join(parts)


def _described(name: str, target: Any) -> Iterator[str]:
    if isinstance(target, str):
        yield "The version of this package, as text.\n"
    elif inspect.isclass(target):
        yield _docstring(target)
        if attrs.has(target):
            fields = ", ".join(
                f"`{field.name}`" + ("" if field.default is attrs.NOTHING else " (may be left out)")
                for field in attrs.fields(target)
            )
            yield f"Fields: {fields}.\n"
        for member, function in _members(target):
            if isinstance(function, property):
                yield f"### {name}.{member}\n\n{_docstring(function)}"
            else:
                yield f"### {name}.{member}()\n\n{_signature(f'{name}.{member}', function)}\n{_docstring(function)}"
    else:
        yield f"{_signature(name, target)}\n{_docstring(target)}"


def _members(cls: type) -> list[tuple[str, Any]]:
    """Return the public methods and properties with docstrings, inherited ones of ours included, as declared."""
    found: dict[str, Any] = {}
    for owner in reversed(cls.__mro__):
        if owner.__module__.startswith("shoal") and (owner is cls or owner is not Identifier):
            for name, member in vars(owner).items():
                plain = getattr(member, "__func__", member)
                if not name.startswith("_") and (inspect.isfunction(plain) or isinstance(plain, property)):
                    found.setdefault(name, plain)
                    found[name] = plain
    return [(name, member) for name, member in found.items() if inspect.getdoc(member)]


def _signature(name: str, function: Callable[..., Any]) -> str:
    """Return a signature as it stands in the source, broken where it is long."""
    shown = []
    star = False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            shown.append("*")
            star = True
        star = star or parameter.kind is parameter.VAR_POSITIONAL
        shown.append(_parameter(parameter))
    returns = _annotation(inspect.signature(function).return_annotation)
    end = f") -> {returns}" if returns else ")"
    line = f"{name}({', '.join(shown)}{end}"
    if len(line) > 100:
        line = f"{name}(\n" + "".join(f"    {part},\n" for part in shown) + end
    return f"<!-- not run: a signature -->\n```python\n{line}\n```\n"


def _parameter(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    text = stars + parameter.name
    annotation = _annotation(parameter.annotation)
    if annotation:
        text += f": {annotation}"
    if parameter.default is not parameter.empty:
        text += f" = {parameter.default!r}" if annotation else f"={parameter.default!r}"
    return text


def _annotation(annotation: Any) -> str:
    if annotation in (inspect.Parameter.empty, inspect.Signature.empty):
        return ""
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def _docstring(target: Any) -> str:
    """Return a docstring as Markdown: an indented example becomes a block."""
    text = inspect.getdoc(target) or ""
    text = re.sub(r"^Example:\n((?:    .*\n?|\n)+)", _example, text, flags=re.M)
    return text + "\n"


def _example(found: re.Match[str]) -> str:
    code = re.sub(r"^    ", "", found[1], flags=re.M).rstrip()
    # Two empty lines after a function, as ruff formats the blocks of pages.
    code = re.sub(r"(\n {4}.*\n)\n(?=\S)", r"\1\n\n", code)
    return f"Example:\n\n<!-- not run: a part of a program -->\n```python\n{code}\n```"


def _summary(name: str) -> str:
    text = inspect.getdoc(getattr(shoal, name)) if name != "__version__" else "The version of this package."
    return " ".join((text or "").split("\n\n")[0].split()).replace("|", "\\|")


def _anchor(name: str) -> str:
    return name.lower()


def _options() -> str:
    parts = [
        "# Options\n",
        "Made by `make docs` from the table that checks them. Give them to `@shoal.remote(...)`, `.options(...)` or",
        "`@shoal.method(...)`. A name that is not here, or a value that is not allowed, raises",
        "[`ConfigError`](../errors.md#configerror).\n",
        "| option | for | must be |",
        "| --- | --- | --- |",
    ]
    parts += [
        f"| `{option.name}` | {', '.join(sorted(option.valid))} | {option.allowed} |"
        for option in OPTIONS.values()
    ]
    return "\n".join(parts) + "\n"


# The wire


def _with_tables(page: str) -> str:
    begin, end = _TABLES
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}{_kinds()}\n{end}{after}"


def _kinds() -> str:
    """Return the tables of kinds and statuses: the comments of kinds.py are their text."""
    source = inspect.getsource(kinds)
    source = re.sub(r"Final = \(\n\s+(\d+)\s+(#.*)\n\)", r"Final = \1  \2", source)
    parts: list[str] = []
    for line in source.splitlines():
        if line.startswith("# "):
            parts += ["", f"### {line[2:]}", "", "| number | name | what follows |", "| ---: | --- | --- |"]
        elif parts and (found := re.match(r"(\w+): Final = (\d+)\s+# (.*)", line)):
            parts.append(f"| {found[2]} | {found[1]} | {found[3].replace('|', 'or')} |")
    return "\n".join(parts) + "\n"


def kinds_of_code() -> dict[str, int]:
    """Return every kind and status that the code has."""
    return {name: value for name, value in vars(kinds).items() if name.isupper() and name != "PROTOCOL"}


if __name__ == "__main__":
    (HERE / "api").mkdir(exist_ok=True)
    for path, text in pages().items():
        (HERE / path).write_text(text)
