"""`shoal list`, `shoal get`, `shoal summary`, `shoal timeline`: what a session has, living or dead."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import attrs
import click

from shoal.observe.commands import json_option
from shoal.observe.render import as_json, table

F = TypeVar("F", bound=Callable[..., Any])

_LISTS = (
    "actors",
    "cluster-events",
    "jobs",
    "logs",
    "nodes",
    "objects",
    "placement-groups",
    "tasks",
    "workers",
)
_GETS = ("actors", "jobs", "nodes", "objects", "placement-groups", "tasks", "workers")
_SUMMARIES = ("actors", "objects", "tasks")
_MOST = 10_000


def _session(function: F) -> F:
    for option in (
        click.option(
            "--session",
            "--address",
            "session",
            metavar="SESSION",
            help="A session's folder, living or dead, the end of its name, its driver's process, or a cluster's "
            "HOST:PORT. Default: the only one that lives here.",
        ),
        click.option(
            "--timeout", type=click.FloatRange(0.1), default=30.0, show_default=True, help="Seconds to wait."
        ),
        click.option(
            "--format",
            "format_",
            type=click.Choice(["table", "json", "yaml"]),
            default="table",
            show_default=True,
            help="How to print.",
        ),
        json_option("The same as --format json."),
    ):
        function = option(function)
    return function


def _filters(words: Sequence[str]) -> list[tuple[str, str, str]]:
    found = []
    for word in words:
        column, sign, value = word.partition("!=")
        if not sign:
            column, sign, value = word.partition("=")
        if not sign or not column.strip():
            raise click.UsageError(f"--filter takes COLUMN=VALUE or COLUMN!=VALUE, not {word!r}")
        found.append((column.strip(), sign, value.strip()))
    return found


def _client(session: str | None) -> Any:
    # Here, since `shoal --help` imports this module too.
    from shoal.state.client import StateApiClient

    return StateApiClient(session or "auto")


def _asked(ask: Callable[[], Any]) -> Any:
    """Ask; what is wrong with the question or the session becomes click's error."""
    from shoal.state.failures import StateApiError

    try:
        return ask()
    except (StateApiError, ValueError) as error:
        raise click.ClickException(str(error)) from error


@click.command("list")
@click.argument("resource", type=click.Choice(_LISTS))
@click.option("--filter", "-f", "filters", multiple=True, metavar="COLUMN=VALUE", help="Only these; also !=.")
@click.option(
    "--limit", type=click.IntRange(1, _MOST), default=100, show_default=True, help="Most lines to show."
)
@click.option("--detail", is_flag=True, help="All columns.")
@_session
def list_command(
    resource: str,
    filters: tuple[str, ...],
    limit: int,
    detail: bool,
    session: str | None,
    timeout: float,
    format_: str,
    json_: bool,
) -> None:
    """List what a session has, the newest calls first; of a dead one what its folder tells.

    Columns that can be filtered by are those of the list; more are shown with --detail.
    """
    if resource == "logs":
        _print_logs(session, timeout, "json" if json_ else format_)
        return
    from shoal.state.records import StateResource, resource_to_schema
    from shoal.state.requests import ListApiOptions

    kind = StateResource(resource.replace("-", "_"))
    client = _asked(lambda: _client(session))
    options = ListApiOptions(limit=limit, timeout=timeout, detail=detail, filters=_filters(filters))
    found = _asked(lambda: client.list(kind, options, False))
    schema = resource_to_schema(kind)
    columns = schema.list_columns(detail)
    rows = [{name: row[name] for name in columns} for row in (one.asdict() for one in found)]
    _print(rows, columns, "json" if json_ else format_)
    if len(found) == limit:
        click.echo(f"The {limit} first are shown; --limit shows more.", err=True)


@click.command("get")
@click.argument("resource", type=click.Choice(_GETS))
@click.argument("identifier")
@_session
def get_command(
    resource: str, identifier: str, session: str | None, timeout: float, format_: str, json_: bool
) -> None:
    """Show all that is known of one task, actor, node, … by its identifier in hexadecimal."""
    from shoal.state.records import StateResource, StateSchema
    from shoal.state.requests import GetApiOptions

    kind = StateResource(resource.replace("-", "_"))
    client = _asked(lambda: _client(session))
    found = _asked(lambda: client.get(kind, identifier, GetApiOptions(timeout)))
    if not found:
        raise click.ClickException(f"no {resource.removesuffix('s')} has the identifier {identifier}")
    several = found if isinstance(found, list) else [found]
    rows = [one.asdict() for one in several if isinstance(one, StateSchema)]
    if json_ or format_ == "json":
        click.echo(as_json(rows if isinstance(found, list) else rows[0]))
    elif format_ == "yaml":
        click.echo(as_yaml(rows if isinstance(found, list) else rows[0]))
    else:
        for row in rows:
            shown = type(several[0]).humanify(row)
            click.echo(table(["", ""], [[name, _cell(v)] for name, v in shown.items() if v is not None]))


@click.command("summary")
@click.argument("resource", type=click.Choice(_SUMMARIES))
@_session
def summary_command(resource: str, session: str | None, timeout: float, format_: str, json_: bool) -> None:
    """Count tasks by function, actors by class, objects by where they were made."""
    from shoal.state.records import SummaryResource
    from shoal.state.requests import SummaryApiOptions

    client = _asked(lambda: _client(session))
    options = SummaryApiOptions(timeout=timeout)
    found = _asked(
        lambda: client.summary(SummaryResource(resource), options=options, raise_on_missing_output=False)
    )
    cluster = found["cluster"]
    if json_ or format_ == "json":
        click.echo(as_json(cluster))
    elif format_ == "yaml":
        click.echo(as_yaml(cluster))
    else:
        rows: list[tuple[str, int, str]] = []
        for name, entry in cluster["summary"].items():
            counts = entry.get("state_counts") or entry.get("ref_type_counts") or {}
            states = ", ".join(f"{state} {count}" for state, count in sorted(counts.items()))
            rows.append((name, sum(counts.values()), states))
        rows.sort(key=lambda row: row[1], reverse=True)
        click.echo(table([resource, "count", "states"], rows))


@click.command("timeline")
@click.argument("filename", type=click.Path(dir_okay=False, writable=True))
@click.option("--session", "--address", "session", metavar="SESSION", help="As for `shoal list`.")
@click.option(
    "--timeout", type=click.FloatRange(0.1), default=30.0, show_default=True, help="Seconds to wait."
)
@json_option("Print how many events were written as JSON.")
def timeline_command(filename: str, session: str | None, timeout: float, json_: bool) -> None:
    """Write what ran, where and when, as a trace that Perfetto and chrome://tracing open."""
    from shoal.errors import ShoalError
    from shoal.looking import look
    from shoal.state.tables import Tables
    from shoal.state.timeline import trace

    try:
        tables = Tables(look(session, timeout=timeout))
    except ShoalError as error:
        raise click.ClickException(str(error)) from error
    events = trace(tables)
    with open(filename, "w", encoding="utf-8") as file:
        json.dump(events, file)
    if json_:
        click.echo(as_json({"file": filename, "events": len(events), "missing": attrs.asdict(tables.losses)}))
        return
    click.echo(f"{len(events):,} events are in {filename}; open it at ui.perfetto.dev or chrome://tracing.")
    if tables.losses.any:
        click.echo(f"Not all is there: {tables.losses.as_text()}", err=True)


def _print_logs(session: str | None, timeout: float, format_: str) -> None:
    from shoal.errors import ShoalError
    from shoal.looking import look

    try:
        seen = look(session, timeout=timeout)
    except ShoalError as error:
        raise click.ClickException(str(error)) from error
    rows = [
        {"node_id": node.node, "file": name, "bytes": size}
        for node in seen.nodes
        for name, size in node.files
    ]
    _print(rows, ["node_id", "file", "bytes"], format_)


def _print(rows: list[dict[str, Any]], columns: Sequence[str], format_: str) -> None:
    if format_ == "json":
        click.echo(as_json(rows))
    elif format_ == "yaml":
        click.echo(as_yaml(rows))
    elif not rows:
        click.echo("There are none.")
    else:
        shown = [name for name in columns if any(row[name] is not None for row in rows)]
        click.echo(table(shown, [[_cell(row[name]) for name in shown] for row in rows]))


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_cell(one)}" for name, one in value.items())
    if isinstance(value, (list, tuple)):
        return "; ".join(str(_cell(one)) for one in value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def as_yaml(value: Any) -> str:
    """Return plain data as YAML: JSON's scalars in blocks, so that nothing needs escaping rules of its own."""
    return "\n".join(_yaml_lines(value, 0)) or "[]"


def _yaml_lines(value: Any, depth: int) -> list[str]:
    pad = "  " * depth
    if isinstance(value, Mapping) and value:
        lines = []
        for name, one in value.items():
            lines += _yaml_entry(f"{pad}{json.dumps(str(name), ensure_ascii=False)}:", one, depth)
        return lines
    if isinstance(value, (list, tuple)) and value:
        lines = []
        for one in value:
            lines += _yaml_entry(f"{pad}-", one, depth)
        return lines
    return [pad + _yaml_scalar(value)]


def _yaml_entry(head: str, value: Any, depth: int) -> list[str]:
    if isinstance(value, (Mapping, list, tuple)) and value:
        return [head, *_yaml_lines(value, depth + 1)]
    return [f"{head} {_yaml_scalar(value)}"]


def _yaml_scalar(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, (list, tuple)):
        return "[]"
    return json.dumps(value, default=str, ensure_ascii=False)
