"""Nodes as messages carry them, and the numbers that identifiers of processes begin with."""

from __future__ import annotations

import os
from typing import Any

from shoal.ids import NodeID
from shoal.machines.membership import NodeRecord
from shoal.spec.resources import ResourceSet
from shoal.spec.view import NodeView


def number_of(process: bytes) -> int:
    """Return the number of the node that a driver, worker or daemon lives on: its identifier begins with it."""
    return int.from_bytes(process[:4], "big")


def driver_id(number: int) -> bytes:
    """Return a new identifier for a driver on a node: those of workers are counted from one, and have no high bit."""
    return number.to_bytes(4, "big") + (int.from_bytes(os.urandom(4), "big") | 1 << 31).to_bytes(4, "big")


def worker_id(number: int, count: int) -> bytes:
    """Return the identifier of a node's worker."""
    return number.to_bytes(4, "big") + (count & 0x7FFFFFFF).to_bytes(4, "big")


def daemon_of(number: int) -> bytes:
    """Return the identifier of a node's daemon."""
    return number.to_bytes(4, "big") + b"\x00\x00\x00\x00"


def node_to_wire(record: NodeRecord) -> dict[str, Any]:
    """Return a node as plain data."""
    return {
        "number": record.number,
        "id": bytes(record.node_id),
        "address": record.address,
        "total": dict(record.total.units),
        "available": dict(record.available.units),
        "labels": dict(record.labels),
        "facts": dict(record.facts),
        "state": record.state,
        "queued": record.queued,
        "reason": record.reason,
        "version": record.version,
    }


def record_from_wire(wire: dict[str, Any]) -> NodeRecord:
    """Return a node's record as `node_to_wire` has written it."""
    return NodeRecord(
        number=wire["number"],
        node_id=NodeID(wire["id"]),
        address=wire["address"],
        total=ResourceSet(wire["total"]),
        available=ResourceSet(wire["available"]),
        labels=wire["labels"],
        facts=wire["facts"],
        state=wire["state"],
        queued=wire["queued"],
        reason=wire["reason"],
        version=wire["version"],
    )


def view_from_wire(wire: dict[str, Any]) -> NodeView:
    """Return a node as schedulers see it."""
    return record_from_wire(wire).view()
