"""The file of a cluster: what is wrong is named, with the nearest right word, and secrets are never shown."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from shoal.autoscaler import read_cluster
from shoal.autoscaler.spec import cluster_of
from shoal.errors import ConfigError
from shoal.spec.resources import ResourceSet

GOOD: dict[str, Any] = {
    "name": "mine",
    "provider": {"kind": "process", "folder": "/tmp/x"},
    "node_types": {"small": {"resources": {"CPU": 2}}},
}


def changed(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(GOOD), **changes}


def with_type(**fields: Any) -> dict[str, Any]:
    return changed(node_types={"small": {"resources": {"CPU": 2}, **fields}})


def test_a_file_is_read_with_its_defaults(tmp_path: Path) -> None:
    path = tmp_path / "cluster.toml"
    path.write_text(
        """
        name = "mine"
        idle_seconds = 30
        [provider]
        kind = "process"
        folder = "/tmp/x"
        [head]
        port = 7000
        [node_types.small]
        resources = {CPU = 2, special = 0.5}
        labels = {zone = "a"}
        min = 1
        """
    )
    spec = read_cluster(path)
    assert (spec.name, spec.provider, spec.idle_seconds, spec.head.port) == ("mine", "process", 30.0, 7000)
    small = spec.types["small"]
    assert small.resources == ResourceSet.of(CPU=2, special=0.5)
    assert (small.least, small.most, dict(small.labels)) == (1, 10, {"zone": "a"})
    assert spec.path == str(path)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (changed(idle_second=3), r"'idle_second'; did you mean 'idle_seconds'"),
        (changed(head={"prot": 1}), r"'head.prot'; did you mean 'port'"),
        (with_type(mx=1), r"'node_types.small.mx'"),
        (with_type(minn=1), r"did you mean 'min'"),
        (changed(name="Mine"), r"name must be a name"),
        (changed(name=""), r"name must be"),
        (changed(name="a" * 50), r"name must be"),
        (changed(name="../x"), r"name must be"),
        (changed(name=3), r"name must be .* not 3"),
        (changed(node_types={}), r"node_types is empty"),
        (changed(node_types={"a_b": {"resources": {"CPU": 1}}}), r"node_types must be a name .*'a_b'"),
        (changed(node_types={"small": {}}), r"node_types.small.resources is missing"),
        (changed(node_types=[]), r"node_types must be a table"),
        (with_type(min=3, max=2), r"min is 3 and max is 2"),
        (with_type(min=-1), r"node_types.small.min must be a whole number ≥ 0, not -1"),
        (with_type(max=1.5), r"node_types.small.max must be a whole number"),
        (with_type(max=True), r"node_types.small.max must be"),
        (with_type(resources={"CPU": -1}), r"node_types.small.resources.CPU"),
        (with_type(resources={"CPU": "2"}), r"node_types.small.resources.CPU"),
        (with_type(resources={"CPU": float("nan")}), r"node_types.small.resources.CPU"),
        (with_type(resources={"CPU": 0.00001}), r"exact to 0.0001"),
        (with_type(labels={"zone": 1}), r"node_types.small.labels.zone must be text"),
        (with_type(cost=-1), r"cost"),
        (changed(provider={}), r"provider.kind must be the name"),
        (changed(provider="ssh"), r"provider must be a table"),
        (changed(idle_seconds="60"), r"idle_seconds must be a number ≥ 0, not '60'"),
        (changed(interval_seconds=0), r"interval_seconds"),
        (
            changed(max_machines=1, node_types={"a": {"resources": {"CPU": 1}, "min": 2}}),
            r"more than max_machines",
        ),
        (changed(setup_commands="ls"), r"setup_commands must be a list of texts"),
        (changed(head={"host": "-oProxyCommand=x"}), r"head.host"),
        (changed(head={"port": 70000}), r"head.port .* ≤ 65535"),
        ([], r"the file must be a table"),
    ],
)
def test_what_is_wrong_is_named(found: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cluster_of(found)


def test_what_is_missing_is_named() -> None:
    for key in ("name", "provider", "node_types"):
        found = copy.deepcopy(GOOD)
        del found[key]
        with pytest.raises(ConfigError, match=f"{key} is missing"):
            cluster_of(found)


def test_secrets_are_never_shown() -> None:
    spec = cluster_of(changed(provider={"kind": "kubernetes", "token": "t0ps3cret", "image": "x"}))
    assert "t0ps3cret" not in repr(spec)
    with pytest.raises(ConfigError) as caught:
        cluster_of(changed(policy_options=3, settings={"token": 3}))
    assert "t0ps3cret" not in str(caught.value)


@pytest.mark.parametrize("text", ["name = ", "name = 'a'\nname = 'b'", "\x00", "[" * 2000])
def test_what_is_no_toml_says_which_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(str(path))):
        read_cluster(path)


def test_what_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_cluster(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_cluster(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_cluster(tmp_path / "latin.toml")
