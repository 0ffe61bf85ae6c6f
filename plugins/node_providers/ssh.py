"""SshNodes: hosts that are there already, each of which is one machine at a time, reached by OpenSSH."""

from __future__ import annotations

import concurrent.futures
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs

from shoal.errors import ConfigError, NodeProviderError, describe
from shoal.interfaces.nodes import GONE, Machine, NodeProvider, NodeStart, NodeType, machine_name
from shoal.node_providers.openssh import Host, read_host
from shoal.node_providers.process import is_loopback

_AT_ONCE = 16  # hosts that are asked at the same time


class SshNodes(NodeProvider):
    """Starts a node on a host when a machine is launched, and ends it when it is terminated; the host stays.

    Options: `hosts`, a list of `user@host:port` (required); `user`, `port` and `identity_file` for those that say
    none of their own; `known_hosts`, a file with the hosts' keys, if not the user's; `python` (python3), one on the
    hosts that has shoal; `folder` (~/.shoal-machines), where a host keeps what runs there; `temp_dir`, of sessions
    there; `seconds` (60) for one answer. A node type may have `hosts`, those of the list that are of it; without it
    all are.

    A host that cannot be reached is left out, unless it is known to be a machine: that one may be alive.
    """

    name: ClassVar[str] = "ssh"
    __slots__ = ("_cluster", "_given", "_hosts", "_known", "_start")

    @attrs.frozen(kw_only=True)
    class Options:
        """What `[provider]` may say."""

        hosts: Sequence[str]
        user: str = ""
        port: int = 22
        identity_file: str = ""
        known_hosts: str = ""
        python: str = "python3"
        folder: str = "~/.shoal-machines"
        temp_dir: str | None = None
        seconds: float = 60.0

    def __init__(self, cluster: str, start: NodeStart, options: Mapping[str, Any] | None = None) -> None:
        try:
            given = self.Options(**dict(options or {}))
        except TypeError as error:
            known = ", ".join(field.name for field in attrs.fields(self.Options))
            raise ConfigError(
                f"the node provider 'ssh' has the options {known}, and needs hosts: {error}"
            ) from None
        if not isinstance(given.hosts, (list, tuple)) or not given.hosts:
            raise ConfigError(
                f"hosts of the node provider 'ssh' is a list of hosts, not {describe(given.hosts)}"
            )
        for path in (given.identity_file, given.known_hosts):
            if path and not os.path.isfile(os.path.expanduser(path)):
                raise ConfigError(f"the node provider 'ssh' finds no file {path}")
        self._cluster, self._start, self._given = cluster, start, given
        self._hosts = {str(text): self._host(text) for text in given.hosts}
        self._known: dict[str, list[Machine]] = {}  # host → what it last said

    def _host(self, text: object) -> Host:
        given = self._given
        identity, known = (os.path.expanduser(path) for path in (given.identity_file, given.known_hosts))
        return read_host("hosts of the node provider 'ssh'", text, given.user, given.port, identity, known)

    def check_type(self, node_type: NodeType) -> None:
        if unknown := sorted(node_type.options.keys() - {"hosts"}):
            raise ConfigError(
                f"node type {node_type.name!r}: the node provider 'ssh' has no option {unknown} for types; it has hosts"
            )
        for text in self._of_type(node_type):
            if text not in self._hosts:
                raise ConfigError(
                    f"node type {node_type.name!r}: {describe(text)} is none of the provider's hosts: "
                    f"{', '.join(self._hosts)}"
                )

    def _of_type(self, node_type: NodeType) -> list[Any]:
        given = node_type.options.get("hosts", list(self._hosts))
        if not isinstance(given, (list, tuple)):
            raise ConfigError(
                f"node type {node_type.name!r}: hosts is a list of hosts, not {describe(given)}"
            )
        return list(given)

    def launch(self, node_type: NodeType, count: int, key: str) -> list[Machine]:
        if count < 1:
            raise ValueError(f"at least one machine is launched, not {count}")
        self.machines()
        wanted = [machine_name(key, index) for index in range(count)]
        there = {one.machine_id: one for machines in self._known.values() for one in machines}
        found = [there[name] for name in wanted if name in there]
        missing = [name for name in wanted if name not in there]
        free = [
            text
            for text in self._of_type(node_type)
            if not any(one.state != GONE for one in self._known.get(text, [])) and text in self._known
        ]
        problems = (
            [f"only {len(free)} hosts of it are free and can be reached"] if len(free) < len(missing) else []
        )
        for text in free:
            if not missing:
                break
            try:
                self._ask(
                    text, {"do": "launch", "machine": missing[0], **self._launch_facts(text, node_type)}
                )
            except NodeProviderError as error:
                problems.append(f"{text}: {error.why}")
                continue
            name = missing.pop(0)
            found += [one for one in self._known[text] if one.machine_id == name]
        if not found:
            raise NodeProviderError(self.name, f"launch {count} of {node_type.name}", "; ".join(problems))
        return found

    def _launch_facts(self, text: str, node_type: NodeType) -> dict[str, Any]:
        with open(self._start.credentials_file, encoding="utf-8") as file:
            credentials = file.read()
        settings = dict(self._start.settings)
        if not is_loopback(self._start.head_address.rpartition(":")[0].strip("[]")):
            settings.setdefault("listen_host", self._hosts[text].name)
        return {
            "type": {
                "name": node_type.name,
                "units": dict(node_type.resources.units),
                "labels": dict(node_type.labels),
            },
            "start": {
                "head_address": self._start.head_address,
                "settings": settings,
                "credentials": credentials,
            },
        }

    def _ask(self, text: str, question: Mapping[str, Any]) -> list[Machine]:
        """Ask a host, and remember what it says. Raises NodeProviderError."""
        given, host = self._given, self._hosts[text]
        full = {
            "cluster": self._cluster,
            "folder": f"{given.folder}/{_plain(text)}",
            "temp_dir": given.temp_dir,
            **question,
        }
        words = [given.python, "-m", "shoal.node_providers.on_host"]
        said = host.run(words, json.dumps(full).encode(), given.seconds)
        try:
            found = json.loads(said)
        except ValueError:
            answered = describe(said.decode(errors="replace"))
            why = f"{text} answered {answered}; is shoal installed for {given.python} there?"
            raise NodeProviderError(self.name, "ask a host", why) from None
        if "error" in found:
            raise NodeProviderError(self.name, question["do"], str(found["error"]))
        machines = [
            Machine(**{**one, "place": f"{text}, {one['place']}", "address": one["address"] or host.name})
            for one in found["machines"]
        ]
        self._known[text] = machines
        return machines

    def machines(self) -> list[Machine]:
        with concurrent.futures.ThreadPoolExecutor(_AT_ONCE, "shoal-ssh") as pool:
            asked = {text: pool.submit(self._ask, text, {"do": "list"}) for text in self._hosts}
        found: list[Machine] = []
        failures = []
        for text, future in asked.items():
            try:
                found += future.result()
            except NodeProviderError as error:
                failures.append(f"{text}: {error.why}")
                known = self._known.get(text, [])
                self._known.pop(text, None)
                if living := [one for one in known if one.state != GONE]:
                    kept = [attrs.evolve(one, reason="its host cannot be reached") for one in living]
                    self._known[text] = kept
                    found += kept
        if len(failures) == len(self._hosts):
            raise NodeProviderError(self.name, "reach any host", "; ".join(failures))
        return found

    def describe(self, machine_id: str) -> Machine:
        for machine in self.machines():
            if machine.machine_id == machine_id:
                return machine
        raise KeyError(machine_id)

    def terminate(self, machine_ids: Sequence[str]) -> None:
        if not any(self._known.values()):
            self.machines()
        failures = []
        for text, machines in list(self._known.items()):
            mine = [one.machine_id for one in machines if one.machine_id in machine_ids]
            if not mine:
                continue
            try:
                self._ask(text, {"do": "terminate", "machines": mine})
            except NodeProviderError as error:
                failures.append(f"{text}: {error.why}")
        if failures:
            raise NodeProviderError(self.name, "end machines", "; ".join(failures))

    def close(self) -> None:
        pass


def _plain(text: str) -> str:
    """Return a host as the name of a folder, for hosts that are one machine under several names."""
    return "".join(letter if letter.isalnum() else "-" for letter in text)
