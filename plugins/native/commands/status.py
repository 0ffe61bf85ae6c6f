"""`shoal status`, `shoal drain-node`: a cluster as its head sees it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from shoal.config import load_config
from shoal.observe.commands import json_option, say
from shoal.observe.render import table
from shoal.spec.resources import UNIT

if TYPE_CHECKING:
    from shoal.native.client.client import Client

_GIBIBYTE = 1 << 30
_MOST_EVENTS = 8


@contextmanager
def _cluster(address: str | None, temp_dir: str | None) -> Iterator[Client]:
    # Here, since it loads the engine, and `shoal --help` imports this module too.
    from shoal.native.process.join import observe_cluster

    given = {"temp_dir": temp_dir} if temp_dir else {}
    config = load_config({**given, "address": address or os.environ.get("SHOAL_ADDRESS") or "auto"})
    client = observe_cluster(config)
    try:
        yield client
    finally:
        client.close()


_ADDRESS = click.option(
    "--address", metavar="HOST:PORT", help="Which cluster, if this machine has nodes of several."
)
_TEMP_DIR = click.option("--temp-dir", type=click.Path(), help="Folder of session folders.")


@click.command()
@_ADDRESS
@_TEMP_DIR
@json_option("Print JSON.")
def status(address: str | None, temp_dir: str | None, json_: bool) -> None:
    """Show a cluster's nodes and jobs, what is used, what waits and why, and the states that are kept."""
    with _cluster(address, temp_dir) as client:
        nodes = client.request("nodes")
        jobs = client.request("jobs")
        pending = client.request("pending")
        durable = client.request("durable_actors")
        scaling = client.request("scaling_told")
    plain = {
        "nodes": [_plain(node) for node in nodes],
        "jobs": [_plain_job(job) for job in jobs],
        "pending": [{**one, "job": one["job"].hex()} for one in pending],
        "autoscaler": scaling,
        "durable_actors": [{**one, "actor": one["actor"].hex()} for one in durable],
    }
    say(plain, lambda: _as_text(plain), json_)


def _plain(node: dict[str, Any]) -> dict[str, Any]:
    total = {name: units / UNIT for name, units in node["total"].items()}
    free = {name: units / UNIT for name, units in node["available"].items()}
    return {
        "node_id": node["id"].hex(),
        "number": node["number"],
        "state": node["state"],
        "reason": node["reason"],
        "address": node["address"],
        "host": node["facts"].get("host", ""),
        "labels": node["labels"],
        "total": total,
        "used": {name: total[name] - free.get(name, 0.0) for name in total}
        if node["state"] != "DEAD"
        else {},
        "waiting": node["queued"],
    }


def _plain_job(job: dict[str, Any]) -> dict[str, Any]:
    named = {"job_id": job["job"].hex(), **job, "driver": job["driver"].hex(), "node_id": job["node"]}
    del named["job"], named["node"]
    return named


def _jobs_as_text(jobs: list[dict[str, Any]]) -> str:
    rows = []
    for job in jobs:
        if job["state"] != "RUNNING" and not job["used"] and not job["waiting"]:
            continue  # `--json` has them all
        note = f", {job['preempted']} preempted" if job["preempted"] else ""
        rows.append(
            [
                job["job_id"],
                job["name"],
                job["state"],
                str(job["priority"]),
                f"{job['share']:g}",
                _amounts(job["used"]),
                _amounts(job["quota"]) or "-",
                f"{job['waiting']}{note}",
            ]
        )
    if not rows:
        return "\n\nNo job runs."
    heads = ["job", "name", "state", "priority", "share", "used", "quota", "waits"]
    return "\n\nJobs:\n" + table(heads, rows)


def _amounts(amounts: dict[str, float]) -> str:
    return ", ".join(f"{name} {_amount(name, value)}" for name, value in sorted(amounts.items()))


def _as_text(plain: dict[str, Any]) -> str:
    rows = []
    for node in plain["nodes"]:
        used = [
            f"{name} {_amount(name, node['used'].get(name, 0.0))}/{_amount(name, total)}"
            for name, total in sorted(node["total"].items())
        ]
        note = node["reason"] if node["state"] == "DEAD" else ", ".join(used)
        rows.append([node["node_id"], node["state"], node["address"], node["host"], note])
    text = table(["node", "state", "address", "host", "used/total"], rows) + _jobs_as_text(plain["jobs"])
    if not plain["pending"]:
        text += "\n\nNothing waits."
    else:
        waits = [[one["what"], str(one["count"]), one["demand"], one["reason"]] for one in plain["pending"]]
        text += "\n\nWhat waits:\n" + table(["what", "count", "demand", "why"], waits)
    text += _scaling_as_text(plain["autoscaler"])
    if plain["durable_actors"]:
        kept = [
            [
                one["name"] or f"{one['class_name']} {one['actor']}",
                one["state"],
                _clock(one["saved"]) or "not yet",
                f"{one['size']:,}",
                f"{_clock(one['restored'])}, from {_clock(one['restored_from'])}" if one["restored"] else "",
            ]
            for one in plain["durable_actors"]
        ]
        header = ["durable actor", "state", "saved", "bytes", "restored"]
        text += "\n\nStates that are kept:\n" + table(header, kept)
    return text


def _scaling_as_text(told: dict[str, Any] | None) -> str:
    """Return what the autoscaler has told: what there is, why something is not met, what it did last."""
    if told is None:
        return ""
    state = "" if told["leads"] else ", which has ended"
    text = f"\n\nAutoscaler {told['cluster']!r} ({told['provider']}, policy {told['policy']}{state}):\n"
    rows = [
        [
            one["name"],
            f"{one['up']}/{one['count']}",
            f"{one['least']} to {one['most']}",
            _amounts(one["resources"]),
            f"{one['error']}; again in {one['retry_seconds']:.0f} s" if one["error"] else "",
        ]
        for one in told["types"]
    ]
    text += table(["node type", "up", "limits", "each", "launches fail"], rows)
    if told["problem"]:
        text += f"\nIt goes on with the last settings: {told['problem']}"
    if told["silent"]:
        text += f"\nIts provider does not answer: {told['silent']}"
    if told["unmet"]:
        unmet = [
            [one["what"], str(one["count"]), _amounts(one["demand"]), one["reason"]] for one in told["unmet"]
        ]
        text += "\n\nNo machine is launched for:\n" + table(["what", "count", "demand", "why"], unmet)
    last = [
        f"  {event['ago'] + told['age']:.0f} s ago: {event['text']}"
        for event in told["events"][-_MOST_EVENTS:]
    ]
    return text + ("\n\nWhat it did last:\n" + "\n".join(last) if last else "")


def _clock(seconds: float) -> str:
    """Return a time for people, nothing for never."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else ""


def _amount(name: str, value: float) -> str:
    if name in ("memory", "object_store_memory"):
        return f"{value / _GIBIBYTE:.1f}GiB"
    return f"{value:g}"


@click.command("drain-node")
@click.argument("node")
@_ADDRESS
@_TEMP_DIR
@json_option("Print JSON.")
def drain_node(node: str, address: str | None, temp_dir: str | None, json_: bool) -> None:
    """Give a node no new work; what runs there goes on. NODE is its identifier or the beginning of it."""
    with _cluster(address, temp_dir) as client:
        living = [one for one in client.request("nodes") if one["state"] != "DEAD"]
        matching = [one for one in living if one["id"].hex().startswith(node)]
        if len(matching) != 1:
            there = ", ".join(one["id"].hex() for one in living)
            raise click.ClickException(
                f"{len(matching)} living nodes are meant by {node!r}; there are: {there}"
            )
        drained = client.request("drain_node", matching[0]["id"])
    name = matching[0]["id"].hex()
    text = f"Node {name} gets no new work." if drained else f"Node {name} was being drained already."
    say({"node_id": name, "drained": drained}, lambda: text, json_)
