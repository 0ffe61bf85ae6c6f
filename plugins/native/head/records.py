"""What the head keeps in its metadata store, so that another head can go on where this one ended.

Written before anything that depends on it is told: what was acknowledged is there. Only a cluster's head keeps records;
the head of a program's own session ends with the program.
"""

from __future__ import annotations

from typing import Any

import attrs
import msgspec

from shoal.death import DeathCertificate
from shoal.ids import NodeID, PlacementGroupID
from shoal.interfaces.metadata import Metadata, Write
from shoal.machines.actors import ActorRecord
from shoal.machines.groups import GroupRecord
from shoal.machines.jobs import JobRecord
from shoal.machines.membership import NodeRecord
from shoal.native.wire.certificates import plain_certificate
from shoal.native.wire.nodes import node_to_wire
from shoal.spec.jobs import JobSpec
from shoal.spec.resources import ResourceSet
from shoal.spec.view import BundleSpec, GroupSpec

_CLUSTER, _NODES, _ACTORS, _CLASSES, _GROUPS, _JOBS = (
    "shoal:cluster",
    "shoal:nodes",
    "shoal:actors",
    "shoal:classes",
    "shoal:groups",
    "shoal:jobs",
)
_NUMBER = b"next number"
_AT_ONCE = 500
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.decode


class Records:
    """Writes through to the metadata store; `keeps` False makes every write nothing."""

    def __init__(self, metadata: Metadata, keeps: bool) -> None:
        self._metadata = metadata
        self.keeps = keeps

    def _write(self, table: str, key: bytes, value: Any) -> None:
        if self.keeps:
            self._metadata.apply([Write(table, key, None if value is None else _pack(value))])

    def next_number(self, number: int) -> None:
        """Keep the lowest number that no node has had."""
        self._write(_CLUSTER, _NUMBER, number)

    def node(self, record: NodeRecord) -> None:
        """Keep a node that lives, or forget one that is dead."""
        key = record.number.to_bytes(4, "big")
        self._write(_NODES, key, None if record.state == "DEAD" else node_to_wire(record))

    def job(self, record: JobRecord) -> None:
        """Keep a job, also one that has ended."""
        fields = attrs.asdict(record, recurse=False)
        self._write(_JOBS, record.spec.job_id, {**fields, "spec": record.spec.to_wire()})

    def forget_job(self, job: bytes) -> None:
        """Forget a job that ended long ago."""
        self._write(_JOBS, job, None)

    def cls(self, class_hash: bytes, pickled: bytes) -> None:
        """Keep a pickled class."""
        self._write(_CLASSES, class_hash, pickled)

    def actor(self, record: ActorRecord, where: int) -> None:
        """Keep an actor that lives, or forget one that is dead."""
        if not self.keeps:
            return
        if record.state == "DEAD":
            self._write(_ACTORS, record.actor_id, None)
            return
        fields = {
            field.name: getattr(record, field.name)
            for field in attrs.fields(ActorRecord)
            if field.name not in ("certificate", "ending", "specification", "subscribers")
        }
        fields["certificate"] = plain_certificate(record.certificate)
        fields["specification"] = {**record.specification, "class": None}
        self._write(_ACTORS, record.actor_id, [where, fields])

    def group(self, record: GroupRecord) -> None:
        """Keep a group that lives, or forget one that was removed. One that is being reserved waits again."""
        key = bytes(record.spec.group_id)
        if record.state == "REMOVED":
            self._write(_GROUPS, key, None)
            return
        spec = record.spec
        plain = {
            "bundles": [[dict(one.resources.units), dict(one.label_selector)] for one in spec.bundles],
            "strategy": spec.strategy,
            "name": spec.name,
            "namespace": spec.namespace,
            "lifetime": spec.lifetime,
            "target": bytes(spec.soft_target_node or b""),
            "creator": record.creator,
            "nodes": list(record.nodes),
            "attempt": record.attempt,
            "job": record.job,
        }
        self._write(_GROUPS, key, plain)

    def clear(self) -> None:
        """Forget the cluster: it was stopped for good."""
        if not self.keeps:
            return
        for table in (_NODES, _ACTORS, _CLASSES, _GROUPS, _JOBS):
            keys = [key for key, _ in self._metadata.items(table)]
            for start in range(0, len(keys), _AT_ONCE):
                self._metadata.apply([Write(table, key, None) for key in keys[start : start + _AT_ONCE]])

    # Reading them again

    def load_number(self) -> int:
        """Return the lowest number that no node has had."""
        found = self._metadata.get(_CLUSTER, _NUMBER) if self.keeps else None
        return 1 if found is None else int(_unpack(found))

    def load_nodes(self) -> list[dict[str, Any]]:
        """Return the nodes that lived."""
        return [_unpack(value) for _, value in self._items(_NODES)]

    def load_jobs(self) -> list[JobRecord]:
        """Return the jobs that are remembered, in the order they began."""
        found = []
        for _, value in self._items(_JOBS):
            fields = _unpack(value)
            found.append(JobRecord(**{**fields, "spec": JobSpec.from_wire(fields["spec"])}))
        return sorted(found, key=lambda record: record.started)

    def load_classes(self) -> dict[bytes, bytes]:
        """Return pickled classes by their hash."""
        return {key: _unpack(value) for key, value in self._items(_CLASSES)}

    def load_actors(self) -> list[tuple[ActorRecord, int]]:
        """Return the actors that lived, each with the number of the node that was asked to start it, or 0."""
        found = []
        for _, value in self._items(_ACTORS):
            where, fields = _unpack(value)
            certificate = fields.pop("certificate")
            record = ActorRecord(**fields)
            record.certificate = None if certificate is None else DeathCertificate(**certificate)
            found.append((record, where))
        return found

    def load_groups(self) -> list[GroupRecord]:
        """Return the groups that were not removed."""
        found = []
        for key, value in self._items(_GROUPS):
            plain = _unpack(value)
            spec = GroupSpec(
                group_id=PlacementGroupID(key),
                bundles=tuple(
                    BundleSpec(index=index, resources=ResourceSet(units), label_selector=labels)
                    for index, (units, labels) in enumerate(plain["bundles"])
                ),
                strategy=plain["strategy"],
                name=plain["name"],
                namespace=plain["namespace"],
                lifetime=plain["lifetime"],
                soft_target_node=NodeID(plain["target"]) if plain["target"] else None,
            )
            record = GroupRecord(spec, plain["creator"], attempt=plain["attempt"], job=plain.get("job", b""))
            record.nodes = tuple(plain["nodes"])
            found.append(record)
        return found

    def _items(self, table: str) -> list[tuple[bytes, bytes]]:
        return self._metadata.items(table) if self.keeps else []
