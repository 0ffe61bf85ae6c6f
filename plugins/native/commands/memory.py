"""`shoal memory`: which objects there are, how large, who owns them, and what holds them."""

from __future__ import annotations

from typing import Any

import click

from shoal.config import load_config
from shoal.native.commands.choose import choose_live, session_option
from shoal.observe.commands import json_option, say
from shoal.observe.render import table

_SHOWN = 100
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_HOLDS = ("local", "queued", "captured", "lineage")


@click.command()
@session_option("Session or node to ask, if several live")
@click.option(
    "--limit", type=click.IntRange(1), default=_SHOWN, show_default=True, help="Most objects to show."
)
@click.option(
    "--sort-by",
    type=click.Choice(["size", "holds"]),
    default="size",
    show_default=True,
    help="The largest objects first, or those that most references hold.",
)
@json_option()
def memory(session: str | None, limit: int, sort_by: str, json_: bool) -> None:
    """Show the objects of a session or of a whole cluster, their owners and what holds them.

    A reference is held locally by a program's variable, queued by a call that has not finished, captured by another
    object's value, kept as lineage by a result that may have to be made again, or borrowed by another process. Where
    references were made is known when the setting record_call_sites is on.
    """
    reports = _ask(session)
    objects = _objects(reports)
    objects.sort(key=lambda one: (-one["size"] if sort_by == "size" else 0, -one["holds"], one["object"]))
    plain = {
        "nodes": [_node(report) for report in reports],
        "objects": objects[:limit],
        "omitted": max(0, len(objects) - limit) + _unsent(reports),
    }
    say(plain, lambda: _as_text(plain), json_)


def _ask(session: str | None) -> list[dict[str, Any]]:
    # Here, since they load the engine, and `shoal --help` imports this module too.
    from shoal.native.process.join import observe_session
    from shoal.native.process.node import find_nodes
    from shoal.native.process.session import Session

    nodes = find_nodes(load_config().temp_dir) if session is None else []
    one_cluster = len({node.head_address for node in nodes}) == 1
    folder = nodes[0].folder if one_cluster else choose_live(session).folder
    client = observe_session(Session.read(folder))
    try:
        found: list[dict[str, Any]] = client.request("memory")
    finally:
        client.close()
    return found


def _unsent(reports: list[dict[str, Any]]) -> int:
    return sum(process["omitted"] for report in reports for process in report["processes"])


def _node(report: dict[str, Any]) -> dict[str, Any]:
    processes = [
        {
            "process": process["process"].hex(),
            "kind": process["kind"],
            "pid": process["pid"],
            "doing": process["label"],
            "answered": not process.get("silent", False),
        }
        for process in report["processes"]
    ]
    return {
        "number": report["number"],
        "node_id": report["node_id"].hex() if "node_id" in report else "",
        "answered": not report.get("silent", False),
        "store": report.get("store", {}),
        "processes": processes,
    }


def _objects(reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one entry an object: what its owner says, and what each process holds it by."""
    found: dict[bytes, dict[str, Any]] = {}
    for report in reports:
        for process in report["processes"]:
            for entry in process["objects"]:
                _add(found, process, entry)
    for one in found.values():
        known = {hold["process"] for hold in one["held"]}
        for borrower, count in one.pop("borrowers").items():
            if borrower.hex() not in known:  # which has not told by itself (yet)
                one["held"].append({"process": borrower.hex(), "pid": 0, "borrowed": count})
                one["holds"] += count
    for report in reports:
        for object_id in report.get("stored", ()):
            known_one = found.get(object_id)
            if known_one is not None and report["number"] not in known_one["nodes"]:
                known_one["nodes"].append(report["number"])
    return list(found.values())


def _add(found: dict[bytes, dict[str, Any]], process: dict[str, Any], entry: dict[str, Any]) -> None:
    one = found.setdefault(
        entry["object"],
        {
            "object": entry["object"].hex(),
            "size": 0,
            "state": "",
            "owner": entry["object"][:8].hex(),
            "made_by": "",
            "call_site": "",
            "nodes": [],
            "holds": 0,
            "held": [],
            "borrowers": {},
        },
    )
    one["size"] = max(one["size"], entry["size"])
    if entry["owned"]:
        one["state"], one["made_by"] = entry["state"], entry["made_by"]
    if entry["call_site"] and (entry["owned"] or not one["call_site"]):
        one["call_site"] = entry["call_site"]
    one["nodes"] = sorted({*one["nodes"], *entry["nodes"]})
    by = {name: entry[name] for name in _HOLDS if entry[name]}
    if by:
        one["held"].append({"process": process["process"].hex(), "pid": process["pid"], **by})
        one["holds"] += sum(by.values())
    one["borrowers"] = {**one["borrowers"], **entry["borrowed"]}


def _as_text(plain: dict[str, Any]) -> str:
    rows = []
    for node in plain["nodes"]:
        store = node["store"]
        if not node["answered"]:
            rows.append([node["number"], node["node_id"], "did not answer", "", "", ""])
            continue
        silent = sum(not process["answered"] for process in node["processes"])
        note = f"{silent} of {len(node['processes'])} processes did not answer" if silent else ""
        rows.append(
            [
                node["number"],
                node["node_id"],
                f"{_bytes(store['used'])} of {_bytes(store['capacity'])}",
                f"{store['objects']:,}",
                f"{_bytes(store['spilled'])} in {store['spilled_objects']:,}",
                note,
            ]
        )
    text = table(["node", "identifier", "store", "objects", "spilled", ""], rows)
    if not plain["objects"]:
        return text + "\n\nNobody holds an object."
    lines = []
    for one in plain["objects"]:
        held = "; ".join(_hold(hold) for hold in one["held"]) or "nobody any more"
        made = " ".join(filter(None, [one["made_by"], one["call_site"] and f"at {one['call_site']}"]))
        where = ",".join(map(str, one["nodes"]))
        lines.append([one["object"], _bytes(one["size"]), one["state"], one["owner"], made, where, held])
    text += "\n\n" + table(["object", "size", "state", "owner", "made by", "nodes", "held by"], lines)
    if plain["omitted"]:
        text += f"\n... and {plain['omitted']:,} more; --limit shows more, --json is for programs"
    return text


def _hold(hold: dict[str, Any]) -> str:
    by = ", ".join(f"{count} {name}" for name, count in hold.items() if name not in ("process", "pid"))
    return f"{hold['process']}{' (process ' + str(hold['pid']) + ')' if hold['pid'] else ''}: {by}"


def _bytes(size: float) -> str:
    for unit in _UNITS:
        if size < 1024 or unit == _UNITS[-1]:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError
