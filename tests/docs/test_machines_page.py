"""docs/machines.md and docs/architecture.md name files and events that exist, and every machine."""

from __future__ import annotations

import re

import pytest
from doc_pages import ROOT

from shoal.machines.actors import ActorDirectory
from shoal.machines.applied import AppliedCalls
from shoal.machines.groups import GroupBook
from shoal.machines.leases import LeaseBook
from shoal.machines.membership import Membership

MACHINES = (ROOT / "docs" / "machines.md").read_text()
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
EVENTS = {
    "Leases": (LeaseBook, {"want", "grant", "give_back", "block", "forget_holder"}),
    "Actors": (ActorDirectory, {"ready", "worker_died", "init_failed", "cannot_start", "kill", "exiting"}),
    "Applied calls": (AppliedCalls, {"judge", "note", "acknowledged", "tidy"}),
    "Placement groups": (GroupBook, {"answered", "node_lost", "propose", "remove"}),
    "Nodes": (Membership, {"disconnected", "drain", "join", "left", "renew", "tick"}),
}


def test_every_machine_has_its_section() -> None:
    modules = sorted((ROOT / "kernel" / "machines").glob("[!_]*.py"))
    missing = [m.name for m in modules if f"`kernel/machines/{m.name}`" not in MACHINES]
    assert missing == []


@pytest.mark.parametrize("section", EVENTS)
def test_the_events_of_a_diagram_are_those_of_the_machine(section: str) -> None:
    machine, events = EVENTS[section]
    text = MACHINES.partition(f"## {section}\n")[2].partition("\n## ")[0]
    assert [event for event in sorted(events) if not re.search(rf"\b{event}\b", text)] == []
    assert [event for event in sorted(events) if not callable(getattr(machine, event, None))] == []


def test_the_way_of_a_call_leads_through_files_that_exist() -> None:
    way = ARCHITECTURE.partition("## How one call travels")[2].partition("\n## ")[0]
    files = re.findall(r"`([\w/]+\.py)`", way)
    assert len(files) > 10
    native = ROOT / "plugins" / "native"
    assert [name for name in files if not (ROOT / name).exists() and not (native / name).exists()] == []
