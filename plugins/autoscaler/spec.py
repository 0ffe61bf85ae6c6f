"""The file that describes a cluster: read, checked against one declared table, unknown keys named with the nearest."""

from __future__ import annotations

import difflib
import json
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from shoal.config import read_toml
from shoal.errors import ConfigError, describe
from shoal.interfaces.nodes import NodeType
from shoal.spec.resources import ResourceSet

_NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
_SECRET = re.compile(r"token|secret|password|credential|access_key|_key$", re.IGNORECASE)


@attrs.frozen(kw_only=True)
class HeadSpec:
    """Where the head runs, and how."""

    host: str = ""  # reached by ssh; "": this machine
    user: str = ""
    identity_file: str = ""  # the private key
    ssh_port: int = 22
    known_hosts: str = ""  # a file; "": the user's own
    python: str = "python3"  # on that host: one that has shoal
    folder: str = ""  # on that host, for credentials and files; "": ~/.shoal/NAME
    port: int = 6389
    address: str = ""  # of the host, as machines reach it; "": loopback here, else `host`
    num_cpus: float | None = None
    num_gpus: float | None = None
    resources: Mapping[str, float] = attrs.field(factory=dict, hash=False)
    settings: Mapping[str, Any] = attrs.field(factory=dict, hash=False, repr=False)  # more of `shoal config`


@attrs.frozen(kw_only=True)
class ClusterSpec:
    """A cluster as its file describes it. Times are in seconds."""

    name: str
    provider: str
    types: Mapping[str, NodeType] = attrs.field(hash=False)
    provider_options: Mapping[str, Any] = attrs.field(factory=dict, hash=False, repr=False)
    head: HeadSpec = attrs.field(factory=HeadSpec)
    settings: Mapping[str, Any] = attrs.field(factory=dict, hash=False, repr=False)  # of every launched node
    policy: str = "demand"
    policy_options: Mapping[str, Any] = attrs.field(factory=dict, hash=False)
    max_machines: int = 10
    idle_seconds: float = 60.0
    upscaling_speed: float = 1.0
    launch_seconds: float = 300.0  # from a launch to the node's joining
    provider_seconds: float = 60.0  # that one answer of the provider may take
    terminate_seconds: float = 60.0  # until the end of a machine is asked for again
    settle_seconds: float = 30.0  # until a launched machine must be in the provider's list
    backoff_seconds: float = 5.0  # after the first failure of a type; doubles with each
    backoff_max_seconds: float = 600.0
    interval_seconds: float = 1.0  # between two looks at the cluster
    setup_commands: tuple[str, ...] = ()  # on the head's host, before its first start
    path: str = ""  # of the file


Check = Callable[[str, Any], Any]


def _number(least: float, most: float = math.inf, whole: bool = False) -> Check:
    def check(where: str, value: Any) -> Any:
        kinds = (int,) if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
            upper = "" if most == math.inf else f" and ≤ {most:g}"
            raise _wrong(where, f"{'a whole number' if whole else 'a number'} ≥ {least:g}{upper}", value)
        return value if whole else float(value)

    return check


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(where, "text", value)
    return value


def _texts(where: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, str) for one in value):
        raise _wrong(where, "a list of texts", value)
    return tuple(value)


def _name(where: str, value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise _wrong(
            where, "a name of 1 to 40 small letters, digits and dashes that begins with a letter", value
        )
    return value


def _table(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(where, "a table", value)
    return dict(value)


def _labels(where: str, value: Any) -> dict[str, str]:
    table = _table(where, value)
    for name, text in table.items():
        if not isinstance(text, str):
            raise _wrong(f"{where}.{name}", "text", text)
    return table


def _resources(where: str, value: Any) -> dict[str, float]:
    table = _table(where, value)
    for name, quantity in table.items():
        _number(0)(f"{where}.{name}", quantity)
    ResourceSet.of(table)  # to four places
    return table


def _path(where: str, value: Any) -> str:
    return os.path.expanduser(_text(where, value))


_SECONDS = _number(0)
_SOME_SECONDS = _number(0.01)
_CLUSTER: dict[str, Check] = {
    "name": _name,
    "provider": _table,
    "head": _table,
    "node_types": _table,
    "settings": _table,
    "policy": _text,
    "policy_options": _table,
    "max_machines": _number(0, whole=True),
    "idle_seconds": _SECONDS,
    "upscaling_speed": _number(0),
    "launch_seconds": _SOME_SECONDS,
    "provider_seconds": _SOME_SECONDS,
    "terminate_seconds": _SOME_SECONDS,
    "settle_seconds": _SECONDS,
    "backoff_seconds": _SOME_SECONDS,
    "backoff_max_seconds": _SOME_SECONDS,
    "interval_seconds": _SOME_SECONDS,
    "setup_commands": _texts,
}
_HEAD: dict[str, Check] = {
    "host": _text,
    "user": _text,
    "identity_file": _path,
    "ssh_port": _number(1, 65535, whole=True),
    "known_hosts": _path,
    "python": _text,
    "folder": _text,
    "port": _number(0, 65535, whole=True),
    "address": _text,
    "num_cpus": _number(0),
    "num_gpus": _number(0),
    "resources": _resources,
    "settings": _table,
}
_TYPE: dict[str, Check] = {
    "resources": _resources,
    "labels": _labels,
    "min": _number(0, whole=True),
    "max": _number(0, whole=True),
    "cost": _number(0),
    "idle_seconds": _SECONDS,
    "options": _table,
}


def read_cluster(path: str | os.PathLike[str]) -> ClusterSpec:
    """Read the file of a cluster: TOML, or JSON if its name ends so.

    Raises ConfigError, naming the file, the key, what came and what is allowed.
    Example: `read_cluster("cluster.toml").max_machines`.
    """
    file = Path(path)
    try:
        found = json.loads(file.read_text(encoding="utf-8")) if file.suffix == ".json" else read_toml(file)
    except ConfigError as error:  # it names the file
        raise ConfigError(f"the cluster's file {error}") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"the cluster's file {file} cannot be read: {error}") from error
    try:
        return cluster_of(found, str(file.resolve()))
    except ConfigError as error:
        raise ConfigError(f"in {file}: {error}") from error


def cluster_of(found: Any, path: str = "") -> ClusterSpec:
    """Return the cluster that plain data describes. Raises ConfigError."""
    table = _checked("", found, _CLUSTER, needed=("name", "provider", "node_types"))
    provider = table.pop("provider")
    kind = provider.pop("kind", None)
    if not isinstance(kind, str):
        raise _wrong("provider.kind", "the name of a node provider, see `shoal plugins`", kind)
    head = HeadSpec(**_checked("head", table.pop("head", {}), _HEAD))
    if head.host.startswith("-") or head.user.startswith("-"):
        raise _wrong("head.host", "a host and a user that do not begin with a dash", head.host)
    types = {}
    for name, one in table.pop("node_types").items():
        where = f"node_types.{_name('node_types', name)}"
        fields = _checked(where, one, _TYPE, needed=("resources",))
        least, most = fields.pop("min", 0), fields.pop("max", 10)
        if least > most:
            raise ConfigError(f"{where}: min is {least} and max is {most}; min may not be more")
        resources = ResourceSet.of(fields.pop("resources"))
        types[name] = NodeType(name=name, resources=resources, least=least, most=most, **fields)
    if not types:
        raise ConfigError("node_types is empty: there is nothing to launch")
    spec = ClusterSpec(**table, provider=kind, provider_options=provider, head=head, types=types, path=path)
    always = sum(one.least for one in types.values())
    if always > spec.max_machines:
        raise ConfigError(
            f"the types' min are {always} together, more than max_machines ({spec.max_machines})"
        )
    return spec


def _checked(
    where: str, found: Any, known: Mapping[str, Check], needed: tuple[str, ...] = ()
) -> dict[str, Any]:
    table = _table(where or "the file", found)
    for key in table:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ConfigError(
                f"there is no key {_join(where, key)!r}; {hint}There are: {', '.join(sorted(known))}"
            )
    for key in needed:
        if key not in table:
            raise ConfigError(f"{_join(where, key)} is missing")
    return {key: known[key](_join(where, key), value) for key, value in table.items()}


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _wrong(where: str, allowed: str, value: Any) -> ConfigError:
    """Make the error for one wrong value. What may be a secret is never shown."""
    shown = "what was given" if _SECRET.search(where) else describe(value)
    return ConfigError(f"{where} must be {allowed}, not {shown}")
