"""The other end of the provider `ssh`: runs on the host, `python -m shoal.node_providers.on_host`, and answers once.

It reads a question as JSON from its standard input, does what is asked with a ProcessNodes of this host, and prints the
answer as JSON. What the host has launched stands in a folder there, so nobody else need remember it.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import attrs

from shoal.errors import NodeProviderError, ShoalError
from shoal.interfaces.nodes import GONE, Machine, NodeStart, NodeType
from shoal.node_providers.process import ProcessNodes
from shoal.spec.resources import ResourceSet


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Return the machines of this host after what was asked for was done. Raises ShoalError."""
    folder = os.path.expanduser(question["folder"])
    os.makedirs(folder, mode=0o700, exist_ok=True)
    given = question.get("start", {})
    credentials = os.path.join(folder, f"{question['cluster']}.credentials")
    start = NodeStart(
        head_address=given.get("head_address", ""),
        credentials_file=credentials,
        settings=given.get("settings", {}),
    )
    nodes = ProcessNodes(question["cluster"], start, {"folder": folder, "temp_dir": question.get("temp_dir")})
    if question["do"] == "launch":
        busy = [one for one in nodes.machines() if one.state != GONE]
        if busy and busy[0].machine_id != question["machine"]:
            raise NodeProviderError("ssh", "launch a machine", f"the host is {busy[0].machine_id} already")
        wire = question["type"]
        node_type = NodeType(
            name=wire["name"], resources=ResourceSet(wire["units"]), labels=wire["labels"], options={}
        )
        _write(credentials, given["credentials"])
        key, _, index = question["machine"].rpartition("-")
        nodes.launch_named(node_type, key, int(index))
    elif question["do"] == "terminate":
        nodes.terminate(question["machines"])
    return {"machines": [_plain(one) for one in nodes.machines()]}


def _plain(machine: Machine) -> dict[str, Any]:
    return attrs.asdict(machine)


def _write(path: str, text: str) -> None:
    descriptor = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(path + ".new", path)


def main() -> int:
    """Answer one question; return the exit status."""
    try:
        found = answer(json.load(sys.stdin))
    except (ShoalError, OSError) as error:
        found = {"error": error.why if isinstance(error, NodeProviderError) else str(error)}
    json.dump(found, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
