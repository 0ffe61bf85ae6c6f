"""The contract of NodeProvider, for whoever writes one.

class TestMine(NodeProviderContract):
    @pytest.fixture
    def make(self):
        return lambda cluster, start: MyNodes(cluster, start, {"region": "here"})

    @pytest.fixture
    def node_type(self):
        return NodeType(name="small", resources=ResourceSet.of(CPU=1), options={"size": "s"})
"""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from shoal.errors import ConfigError
from shoal.interfaces.nodes import GONE, STATES, STOPPING, Machine, NodeProvider, NodeStart, NodeType
from shoal.spec.resources import ResourceSet

Make = Callable[[str, NodeStart], NodeProvider]


class NodeProviderContract:
    """What every provider must do. Machines need not become nodes: nobody listens where their head should be."""

    seconds: float = 60.0  # that a machine may take to end

    @pytest.fixture
    def make(self) -> Make:
        """Return a function that makes the provider for a cluster's name and the start of its nodes."""
        raise NotImplementedError("return a function that makes the provider under test")

    @pytest.fixture
    def node_type(self) -> NodeType:
        """Return a node type that it can launch."""
        return NodeType(name="small", resources=ResourceSet.of(CPU=1))

    @pytest.fixture
    def start(self, tmp_path: Path) -> NodeStart:
        """Return how nodes are started: joining a head that is not there."""
        credentials = tmp_path / "credentials"
        # A real file, with which a machine waits for its head instead of failing at once.
        command = [sys.executable, "-m", "shoal.cli.main", "credentials", str(credentials)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        return NodeStart(
            head_address="127.0.0.1:9",
            credentials_file=str(credentials),
            settings={"head_wait_seconds": 60.0},
        )

    @pytest.fixture
    def cluster(self) -> str:
        """Return the name of a cluster that nobody has used."""
        return f"contract-{secrets.token_hex(3)}"

    @pytest.fixture
    def provider(self, make: Make, start: NodeStart, cluster: str) -> Iterator[NodeProvider]:
        """Return the provider; what it has launched is ended afterwards."""
        made = make(cluster, start)
        yield made
        self._end_all(made)
        made.close()
        made.close()

    def _end_all(self, provider: NodeProvider) -> None:
        """End every machine, and wait until they are gone and forgotten."""
        deadline = time.monotonic() + self.seconds
        while living := [one for one in provider.machines() if one.state != GONE]:
            provider.terminate([one.machine_id for one in living])
            assert time.monotonic() < deadline, f"these do not end: {living}"
            time.sleep(0.05)
        provider.terminate([one.machine_id for one in provider.machines()])

    def _names(self, machines: list[Machine]) -> list[str]:
        return sorted(one.machine_id for one in machines if one.state not in (STOPPING, GONE))

    def test_there_is_nothing_at_first(self, provider: NodeProvider) -> None:
        assert provider.machines() == []

    def test_machines_have_the_names_of_their_launch(
        self, provider: NodeProvider, node_type: NodeType
    ) -> None:
        provider.check_type(node_type)
        launched = provider.launch(node_type, 2, "first")
        assert sorted(one.machine_id for one in launched) == ["first-0", "first-1"]
        assert all(one.node_type == node_type.name and one.state in STATES for one in launched)
        listed = {one.machine_id: one for one in provider.machines()}
        assert sorted(listed) == ["first-0", "first-1"]
        for machine_id, machine in listed.items():
            assert provider.describe(machine_id).node_type == machine.node_type == node_type.name

    def test_a_launch_that_is_tried_again_launches_nothing_twice(
        self, make: Make, start: NodeStart, cluster: str, provider: NodeProvider, node_type: NodeType
    ) -> None:
        provider.launch(node_type, 1, "once")
        again = make(cluster, start)
        try:
            assert [one.machine_id for one in again.launch(node_type, 1, "once")] == ["once-0"]
            assert sorted(one.machine_id for one in again.machines()) == ["once-0"]
        finally:
            again.close()

    def test_another_cluster_sees_none_of_it(
        self, make: Make, start: NodeStart, cluster: str, provider: NodeProvider, node_type: NodeType
    ) -> None:
        provider.launch(node_type, 1, "mine")
        other = make(cluster + "2", start)  # a name that begins like ours
        try:
            assert other.machines() == []
            with pytest.raises(KeyError):
                other.describe("mine-0")
            other.terminate(["mine-0"])
        finally:
            other.close()
        assert self._names(provider.machines()) == ["mine-0"]

    def test_a_second_instance_sees_and_ends_what_the_first_has_launched(
        self, make: Make, start: NodeStart, cluster: str, provider: NodeProvider, node_type: NodeType
    ) -> None:
        provider.launch(node_type, 1, "kept")
        second = make(cluster, start)
        try:
            assert self._names(second.machines()) == ["kept-0"]
            self._end_all(second)
        finally:
            second.close()
        assert self._names(provider.machines()) == []

    def test_ended_machines_are_told_so(self, provider: NodeProvider, node_type: NodeType) -> None:
        provider.launch(node_type, 2, "some")
        provider.terminate(["some-0"])
        provider.terminate(["some-0"])  # once more
        deadline = time.monotonic() + self.seconds
        while "some-0" in self._names(provider.machines()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert self._names(provider.machines()) == ["some-1"]

    def test_what_is_not_known_cannot_be_described_and_is_none_to_end(self, provider: NodeProvider) -> None:
        for strange in ("nobody-0", "../nobody", "a b;c"):
            with pytest.raises(KeyError):
                provider.describe(strange)
        provider.terminate(["nobody-0"])

    @pytest.mark.parametrize("count", [0, -1])
    def test_no_machines_cannot_be_launched(
        self, provider: NodeProvider, node_type: NodeType, count: int
    ) -> None:
        with pytest.raises(ValueError, match=str(count)):
            provider.launch(node_type, count, "none")
        assert provider.machines() == []

    def test_options_of_a_type_that_it_does_not_know_are_refused(
        self, provider: NodeProvider, node_type: NodeType
    ) -> None:
        strange = attrs.evolve(node_type, options={**node_type.options, "no_such_option": 1})
        with pytest.raises(ConfigError, match="no_such_option") as caught:
            provider.check_type(strange)
        assert node_type.name in str(caught.value)
