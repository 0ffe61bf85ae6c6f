"""The provider `kubernetes`: Kubernetes' own client over HTTP, against an API server that can misbehave."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pod_server import PodServer

from shoal.errors import ConfigError, NodeProviderError
from shoal.interfaces.nodes import GONE, PENDING, RUNNING, STOPPING, NodeStart, NodeType
from shoal.node_providers.kubernetes import KubernetesNodes
from shoal.spec.resources import ResourceSet
from shoal.testing.nodes import Make, NodeProviderContract

pytest.importorskip("kubernetes")
SMALL = NodeType(name="small", resources=ResourceSet.of(CPU=1))
START = NodeStart(head_address="head.example:6389", credentials_file="/somewhere/credentials")


@pytest.fixture
def server() -> Iterator[PodServer]:
    server = PodServer()
    yield server
    server.close()


@pytest.fixture
def options(server: PodServer) -> dict[str, Any]:
    return {"api_server": server.url, "image": "registry.example/shoal:1", "seconds": 5}


@pytest.fixture
def nodes(options: dict[str, Any]) -> Iterator[KubernetesNodes]:
    nodes = KubernetesNodes("mine", START, options)
    yield nodes
    nodes.close()


class TestKubernetes(NodeProviderContract):
    @pytest.fixture
    def make(self, options: dict[str, Any]) -> Make:
        return lambda cluster, start: KubernetesNodes(cluster, start, options)


def test_a_pod_runs_a_node_and_mounts_the_secret(server: PodServer, nodes: KubernetesNodes) -> None:
    gpu = NodeType(
        name="gpu",
        resources=ResourceSet.of({"CPU": 4, "GPU": 1, "memory": 2**30, "special": 2}),
        labels={"zone": "a"},
        options={
            "pod": {
                "metadata": {"labels": {"team": "x"}},
                "spec": {
                    "tolerations": [{"key": "gpu", "operator": "Exists"}],
                    "containers": [{"env": [{"name": "A", "value": "1"}]}],
                },
            }
        },
    )
    nodes.check_type(gpu)
    [machine] = nodes.launch(gpu, 1, "k")
    assert (machine.state, machine.address, machine.place) == (RUNNING, "10.1.2.3", "pod mine-k-0")
    pod = server.pods["mine-k-0"]
    [container] = pod["spec"]["containers"]
    assert container["resources"]["limits"] == {"cpu": "4", "nvidia.com/gpu": "1", "memory": str(2**30)}
    command = " ".join(container["command"])
    assert "--address head.example:6389" in command
    assert "--credentials /etc/shoal-credentials/credentials" in command
    assert "listen_host=$(POD_IP)" in command
    assert '"shoal.io/machine": "k-0"' in command
    assert '"zone": "a"' in command
    assert [one["name"] for one in container["env"]] == ["POD_IP", "A"]
    assert pod["metadata"]["labels"]["team"] == "x"
    assert pod["spec"]["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert pod["spec"]["volumes"][0]["secret"]["secretName"] == "shoal"
    assert {"name": "shm", "emptyDir": {"medium": "Memory"}} in pod["spec"]["volumes"]


@pytest.mark.parametrize(
    ("phase", "state"), [("Pending", PENDING), ("Running", RUNNING), ("Failed", GONE), ("Succeeded", GONE)]
)
def test_phases_are_states(server: PodServer, nodes: KubernetesNodes, phase: str, state: str) -> None:
    server.phase = phase
    [machine] = nodes.launch(SMALL, 1, "k")
    assert machine.state == state


def test_what_kubernetes_says_of_a_pod_is_the_reason(server: PodServer, nodes: KubernetesNodes) -> None:
    server.phase = "Pending"
    nodes.launch(SMALL, 2, "k")
    server.pods["mine-k-0"]["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: insufficient cpu"}
    ]
    server.pods["mine-k-1"]["status"]["containerStatuses"] = [
        {
            "name": "node",
            "image": "x",
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}},
        }
    ]
    first, second = nodes.machines()
    assert "insufficient cpu" in first.reason
    assert second.reason == "ImagePullBackOff; no such image"


def test_a_pod_that_is_going_is_stopping(nodes: KubernetesNodes) -> None:
    nodes.launch(SMALL, 1, "k")
    nodes.terminate(["k-0"])
    assert [one.state for one in nodes.machines()] in ([STOPPING], [])


def test_long_lists_come_in_pages(server: PodServer, nodes: KubernetesNodes) -> None:
    nodes.launch(SMALL, 7, "k")
    server.page = 3
    assert len(nodes.machines()) == 7


def test_a_quota_gives_fewer_and_then_none(server: PodServer, nodes: KubernetesNodes) -> None:
    server.quota = 2
    assert len(nodes.launch(SMALL, 5, "k")) == 2
    with pytest.raises(NodeProviderError, match="exceeded quota") as caught:
        nodes.launch(SMALL, 1, "more")
    assert not caught.value.permanent  # a quota may be raised, or others go


def test_a_manifest_that_can_never_be_is_permanent(nodes: KubernetesNodes) -> None:
    wrong = NodeType(
        name="w", resources=SMALL.resources, options={"pod": {"spec": {"containers": [{"image": ""}]}}}
    )
    with pytest.raises(NodeProviderError, match=r"image: Required value") as caught:
        nodes.launch(wrong, 1, "k")
    assert caught.value.permanent


def test_a_server_that_fails_or_hangs_is_an_error_in_time(server: PodServer, options: dict[str, Any]) -> None:
    nodes = KubernetesNodes("mine", START, {**options, "seconds": 0.3})
    server.broken = True
    with pytest.raises(NodeProviderError, match="etcdserver"):
        nodes.machines()
    server.broken = False
    server.hang.clear()
    with pytest.raises(NodeProviderError, match="list pods"):
        nodes.machines()
    server.hang.set()
    assert nodes.machines() == []
    nodes.close()


def test_a_token_is_shown_to_the_server_and_to_nobody_else(
    server: PodServer, options: dict[str, Any]
) -> None:
    server.token = "t0ps3cret"
    nodes = KubernetesNodes("mine", START, {**options, "token": "t0ps3cret"})
    assert nodes.machines() == []
    nodes.close()
    wrong = KubernetesNodes("mine", START, {**options, "token": "wr0ng"})
    with pytest.raises(NodeProviderError, match="Unauthorized") as caught:
        wrong.machines()
    assert caught.value.permanent
    assert "wr0ng" not in str(caught.value)
    wrong.close()
    assert "t0ps3cret" not in repr(KubernetesNodes.Options(token="t0ps3cret"))


def test_without_a_way_to_the_server_it_says_so(tmp_path: Path) -> None:
    nodes = KubernetesNodes("mine", START, {"image": "x", "kubeconfig": str(tmp_path / "none")})
    with pytest.raises(NodeProviderError, match="find the API server") as caught:
        nodes.machines()
    assert caught.value.permanent
    outside = KubernetesNodes("mine", START, {"image": "x"})
    with pytest.raises(NodeProviderError, match="find the API server"):
        outside.machines()


@pytest.mark.parametrize("given", [{"namspace": "x"}, {"namespace": 3}, {"seconds": 0}, {"seconds": True}])
def test_bad_options_of_kubernetes_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="'kubernetes'"):
        KubernetesNodes("mine", START, given)


@pytest.mark.parametrize("given", [{"pod": "x"}, {"requests": 1}, {"image": 3}, {"imagee": "x"}, {}])
def test_bad_options_of_types_of_pods_are_refused(given: dict[str, Any]) -> None:
    nodes = KubernetesNodes("mine", START, {})
    with pytest.raises(ConfigError, match="'small'"):
        nodes.check_type(NodeType(name="small", resources=SMALL.resources, options=given))
