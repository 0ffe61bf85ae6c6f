"""The head's and the nodes' messages (`control.py`) as protobuf messages of `control.proto`, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from shoal.native.wire import control

SERVICE = "/shoal.control.v1.Control/Attach"

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.decode


def _classes() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    files = descriptor_pb2.FileDescriptorSet()
    files.ParseFromString(Path(__file__).with_name("control.desc").read_bytes())
    for file in files.file:
        pool.Add(file)
    found = {}
    for file in files.file:
        for message in file.message_type:
            descriptor = pool.FindMessageTypeByName(f"{file.package}.{message.name}")
            found[message.name] = message_factory.GetMessageClass(descriptor)
    return found


_CLASSES = _classes()
NodeMessage: Any = _CLASSES["NodeMessage"]
HeadMessage: Any = _CLASSES["HeadMessage"]


# One field: how it gets into a protobuf message, and out of it.
class _Plain:
    def __init__(self, name: str) -> None:
        self.name = name

    def put(self, target: Any, value: Any) -> None:
        if value is not None:
            setattr(target, self.name, value)

    def take(self, source: Any) -> Any:
        return getattr(source, self.name)


class _Packed(_Plain):
    def put(self, target: Any, value: Any) -> None:
        setattr(target, self.name, _pack(value))

    def take(self, source: Any) -> Any:
        return _unpack(getattr(source, self.name))


class _Many(_Plain):
    def put(self, target: Any, value: Any) -> None:
        getattr(target, self.name).extend(value)

    def take(self, source: Any) -> Any:
        return list(getattr(source, self.name))


class _Map(_Plain):
    def put(self, target: Any, value: Any) -> None:
        getattr(target, self.name).update(value)

    def take(self, source: Any) -> Any:
        return dict(getattr(source, self.name))


class _Units(_Plain):
    """{name: units}, or None where the field is absent."""

    def put(self, target: Any, value: Any) -> None:
        if value is not None:
            field = getattr(target, self.name)
            field.SetInParent()
            field.units.update(value)

    def take(self, source: Any) -> Any:
        return dict(getattr(source, self.name).units) if source.HasField(self.name) else None


class _Bundles(_Plain):
    def put(self, target: Any, value: Any) -> None:
        field = getattr(target, self.name)
        for index, units in value.items():
            field[index].units.update(units)

    def take(self, source: Any) -> Any:
        return {index: dict(one.units) for index, one in getattr(source, self.name).items()}


_NODE_FIELDS: tuple[_Plain, ...] = (
    _Plain("number"),
    _Plain("id"),
    _Plain("address"),
    _Units("total"),
    _Units("available"),
    _Map("labels"),
    _Map("facts"),
    _Plain("state"),
    _Plain("queued"),
    _Plain("reason"),
    _Plain("version"),
)


_AVAILABLE_FIELDS: tuple[_Plain, ...] = (
    _Plain("number"),
    _Plain("version"),
    _Units("available"),
    _Plain("queued"),
)


class _AvailableList(_Plain):
    def put(self, target: Any, value: Any) -> None:
        for fields in value:
            node = getattr(target, self.name).add()
            for field, one in zip(_AVAILABLE_FIELDS, fields, strict=True):
                field.put(node, one)

    def take(self, source: Any) -> Any:
        return [[field.take(node) for field in _AVAILABLE_FIELDS] for node in getattr(source, self.name)]


class _NodeList(_Plain):
    def put(self, target: Any, value: Any) -> None:
        for wire in value:
            node = getattr(target, self.name).add()
            for field in _NODE_FIELDS:
                field.put(node, wire[field.name])

    def take(self, source: Any) -> Any:
        return [
            {field.name: field.take(node) for field in _NODE_FIELDS} for node in getattr(source, self.name)
        ]


class _Portions(_Plain):
    """[[job, units], ...]."""

    def put(self, target: Any, value: Any) -> None:
        for job, units in value:
            getattr(target, self.name).add(job=job, units=units)

    def take(self, source: Any) -> Any:
        return [[one.job, dict(one.units)] for one in getattr(source, self.name)]


class _Uses(_Plain):
    """{job: [units, how many leases were ended, {node: units}]}."""

    def put(self, target: Any, value: Any) -> None:
        for job, (units, preempted, lent) in value.items():
            one = getattr(target, self.name).add(job=job, preempted=preempted)
            one.used.units.update(units)
            for node, borrowed in lent.items():
                one.lent[node].units.update(borrowed)

    def take(self, source: Any) -> Any:
        return {
            one.job: [
                dict(one.used.units),
                one.preempted,
                {node: dict(borrowed.units) for node, borrowed in one.lent.items()},
            ]
            for one in getattr(source, self.name)
        }


class _Elsewhere(_Plain):
    """[[job, units, [units, ...], {job}], ...]."""

    def put(self, target: Any, value: Any) -> None:
        for job, units, waiting, spec in value:
            one = getattr(target, self.name).add(job=job, spec_packed=_pack(spec))
            one.used.units.update(units)
            for demand in waiting:
                one.waiting.add(units=demand)

    def take(self, source: Any) -> Any:
        return [
            [
                one.job,
                dict(one.used.units),
                [dict(demand.units) for demand in one.waiting],
                _unpack(one.spec_packed),
            ]
            for one in getattr(source, self.name)
        ]


_client = (_Plain("client"), _Packed("message_packed"))
_worker = (_Plain("worker"), _Packed("certificate_packed"))
_news = (_Plain("actor"), _Plain("incarnation"))

# kind → (field of the oneof, fields inside it; None: the field is the value itself)
_Table = dict[int, tuple[str, "tuple[_Plain, ...] | None"]]
_TO_HEAD: _Table = {
    control.HANDSHAKE: ("handshake", None),
    control.HELLO: (
        "hello",
        (_Plain("node_id"), _Plain("number"), _Plain("protocol"), _Plain("shoal"), _Plain("python")),
    ),
    control.JOIN: (
        "join",
        (
            _Plain("address"),
            _Units("total"),
            _Map("labels"),
            _Map("facts"),
        ),
    ),
    control.FROM_CLIENT: ("from_client", _client),
    control.CLIENT_GONE: ("client_gone", None),
    control.RESOURCES: ("resources", (_Units("available"), _Plain("queued"), _Units("total"))),
    control.ACTOR_PLACED: ("actor_placed", (*_news, _Plain("worker"), _Plain("process"))),
    control.ACTOR_REFUSED: ("actor_refused", (*_news, _Plain("reason"))),
    control.ACTOR_UNPLACEABLE: ("actor_unplaceable", (*_news, _Packed("certificate_packed"))),
    control.ACTOR_INFEASIBLE: ("actor_infeasible", (_Plain("actor"), _Plain("reason"))),
    control.ACTOR_IS_READY: ("actor_is_ready", _news),
    control.ACTOR_RAISED: ("actor_raised", (*_news, _Plain("error"), _Plain("process"))),
    control.ACTOR_LEAVES: ("actor_leaves", (_Plain("actor"), _Packed("certificate_packed"))),
    control.ACTOR_GONE: ("actor_gone", _worker),
    control.RESERVED: ("reserved", (_Plain("group"), _Plain("attempt"), _Plain("reason"))),
    control.TO_CLIENT: ("to_client", _client),
    control.RENEW: ("renew", None),
    control.LEAVING: ("leaving", None),
    control.STATE: (
        "state",
        (
            _Many("clients"),
            _Packed("actors_packed"),
            _Packed("groups_packed"),
            _Portions("portions"),
        ),
    ),
    control.JOBS_USE: ("jobs_use", (_Uses("jobs"),)),
    control.QUOTA_ASK: ("quota_ask", (_Plain("job"), _Map("units"), _Plain("count"))),
    control.QUOTA_RETURN: ("quota_return", (_Plain("job"), _Map("units"))),
    control.DEMANDS: ("demands_packed", None),
}
_TO_NODE: _Table = {
    control.HANDSHAKE: ("handshake", None),
    control.WELCOME: ("welcome", (_Plain("number"), _Packed("settings_packed"))),
    control.REFUSED: ("refused", None),
    control.CLIENT: ("client", _client),
    control.START_ACTOR: (
        "start_actor",
        (*_news, _Packed("specification_packed"), _Plain("may_refuse")),
    ),
    control.WITHDRAW_ACTOR: ("withdraw_actor", None),
    control.END_WORKER: ("end_worker", _worker),
    control.RESERVE: ("reserve", (_Plain("group"), _Plain("attempt"), _Bundles("bundles"), _Plain("job"))),
    control.RELEASE: ("release", (_Plain("group"), _Plain("attempt"))),
    control.GROUP: ("group", (_Plain("group"), _Plain("state"), _Map("places"))),
    control.NODES: ("nodes", (_NodeList("nodes"),)),
    control.AVAILABLE: ("available", (_AvailableList("nodes"),)),
    control.EXPLAIN_ACTOR: (
        "explain_actor",
        (_Plain("client"), _Plain("request"), _Plain("actor"), _Many("lines")),
    ),
    control.GONE_CLIENTS: ("gone_clients", (_Many("clients"),)),
    control.RENEWED: ("renewed", None),
    control.DRAIN: ("drain", ()),
    control.END: ("end", None),
    control.JOBS: ("jobs", (_Elsewhere("jobs"), _Many("ended"))),
    control.QUOTA_GIVE: ("quota_give", (_Plain("job"), _Map("units"), _Plain("use"))),
    control.QUOTA_TIGHT: ("quota_tight", (_Plain("job"), _Plain("tight"))),
    control.SCALING: ("scaling_packed", None),
    control.MAKE_ROOM: ("make_room", (_Plain("job"), _Map("units"))),
}


class _Side:
    """The messages of one direction."""

    def __init__(self, table: _Table, make: Any) -> None:
        self._table = table
        self._make = make
        self._kinds = {name: (kind, fields) for kind, (name, fields) in table.items()}

    def encode(self, message: list[Any]) -> Any:
        """Return a message in protobuf's form."""
        shared = isinstance(message, control.ForAll)
        if shared and (known := getattr(message, "encoded", None)) is not None:
            return known
        made = self._make()
        self._put(made, message)
        if shared:
            message.encoded = made  # type: ignore[attr-defined]
        return made

    def encode_several(self, messages: list[list[Any]]) -> Any:
        """Return messages as one, which costs little more than the first of them. There must be at least one."""
        if len(messages) == 1:
            return self.encode(messages[0])
        made = self._make()
        for message in messages:
            if isinstance(message, control.ForAll):
                made.several.messages.append(self.encode(message))
            else:
                self._put(made.several.messages.add(), message)
        return made

    def decode(self, received: Any) -> list[Any]:
        """Return a message that came alone. Raises ValueError if it is none of this version."""
        name = received.WhichOneof("what")
        if name not in self._kinds:
            raise ValueError("a message of a newer version, or of none")
        kind, fields = self._kinds[name]
        inner = getattr(received, name)
        if fields is None:
            return [kind, inner]
        return [kind, *(field.take(inner) for field in fields)]

    def decode_several(self, received: Any) -> list[list[Any]]:
        """Return the messages that came as one. Raises ValueError."""
        if received.WhichOneof("what") == "several":
            return [self.decode(one) for one in received.several.messages]
        return [self.decode(received)]

    def _put(self, made: Any, message: list[Any]) -> None:
        name, fields = self._table[message[0]]
        if fields is None:
            setattr(made, name, message[1])
        elif not fields:
            setattr(made, name, True)
        else:
            inner = getattr(made, name)
            inner.SetInParent()
            for field, value in zip(fields, message[1:], strict=True):
                field.put(inner, value)


TO_HEAD = _Side(_TO_HEAD, NodeMessage)
TO_NODE = _Side(_TO_NODE, HeadMessage)
