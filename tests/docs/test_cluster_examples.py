"""The files of examples/clusters are read as `shoal up` reads them, and their providers accept what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from shoal.autoscaler.loop import check_cluster
from shoal.autoscaler.spec import ClusterSpec
from shoal.config import settings
from shoal.interfaces.nodes import NodeStart
from shoal.native.commands.start import start

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "clusters"


def check(path: Path) -> ClusterSpec:
    pytest.importorskip("boto3")
    spec, _ = check_cluster(
        str(path), lambda spec: NodeStart(head_address="10.0.0.1:6389", credentials_file="")
    )
    return spec


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.name)
def test_an_example_is_a_cluster(path: Path) -> None:
    spec = check(path)
    assert spec.provider == path.stem
    assert spec.types


def test_kubernetes_gets_what_the_head_and_its_autoscaler_need(tmp_path: Path) -> None:
    parts: dict[str, Any] = {
        part["kind"]: part for part in yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text())
    }
    path = tmp_path / "cluster.toml"
    path.write_text(parts["ConfigMap"]["data"]["cluster.toml"])
    spec = check(path)
    assert spec.provider == "kubernetes"
    assert spec.head.address == parts["Service"]["metadata"]["name"]
    [rule] = parts["Role"]["rules"]
    assert (rule["resources"], rule["verbs"]) == (["pods"], ["create", "delete", "get", "list"])
    pod = parts["StatefulSet"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == parts["ServiceAccount"]["metadata"]["name"]
    [container] = pod["containers"]
    context = start.make_context("start", container["args"][1:])
    given = dict(one.split("=", 1) for one in context.params["settings"])
    assert given.keys() <= {setting.name for setting in settings()}
    assert given["autoscaling"] == "/etc/shoal/cluster.toml"
    context.close()
