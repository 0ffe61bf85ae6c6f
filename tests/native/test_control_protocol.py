"""The control plane's protocol: the shipped descriptor is what the .proto says, and every message survives the way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shoal.native.wire import control, protobuf

ROOT = Path(__file__).resolve().parents[2]
CERTIFICATE = {"what": "worker", "last_lines": ["a", "b"]}
NODE = {
    "number": 3,
    "id": b"12345678",
    "address": "127.0.0.1:1",
    "total": {"CPU": 10000},
    "available": {},
    "labels": {"zone": "a"},
    "facts": {"host": "h"},
    "state": "ALIVE",
    "queued": 2,
    "reason": "",
    "version": 9,
}
TO_HEAD: list[list[Any]] = [
    [control.HANDSHAKE, b"bytes"],
    [control.HELLO, b"12345678", 0, 1, "0.1.0", "3.11"],
    [control.JOIN, "host:1", {"CPU": 20000}, {"zone": "a"}, {"pid": "7"}],
    [control.FROM_CLIENT, b"client00", [51, 1, "view", []]],
    [control.CLIENT_GONE, b"client00"],
    [control.RESOURCES, {"CPU": 5000}, 4, None],
    [control.RESOURCES, {}, 0, {"CPU": 1}],
    [control.ACTOR_PLACED, b"a" * 16, 2, b"worker00", 77],
    [control.ACTOR_REFUSED, b"a" * 16, 2, "no room"],
    [control.ACTOR_UNPLACEABLE, b"a" * 16, 2, CERTIFICATE],
    [control.ACTOR_INFEASIBLE, b"a" * 16, "never"],
    [control.ACTOR_IS_READY, b"a" * 16, 2],
    [control.ACTOR_RAISED, b"a" * 16, 2, b"pickle", 77],
    [control.ACTOR_LEAVES, b"a" * 16, CERTIFICATE],
    [control.ACTOR_GONE, b"worker00", CERTIFICATE],
    [control.RESERVED, b"g" * 16, 1, ""],
    [control.TO_CLIENT, b"client00", [82, "text"]],
    [control.RENEW, 12.5],
    [control.LEAVING, "goodbye"],
    [control.STATE, [b"client00"], [[b"a" * 16, 1, b"worker00", 77, True]], [[b"g" * 16, {1: [0, 1]}]], []],
    [control.STATE, [], [], [], [[b"job1", {"CPU": 20000}], [b"job2", {}]]],
    [control.JOBS_USE, {b"job1": [{"CPU": 5000, "memory": 7}, 2, {3: {"CPU": 1}}], b"job2": [{}, 1, {}]}],
    [control.QUOTA_ASK, b"job1", {"CPU": 10000}, 3],
    [control.QUOTA_RETURN, b"job1", {"CPU": 10000, "GPU": 1}],
    [control.DEMANDS, b"packed"],
]
TO_NODE: list[list[Any]] = [
    [control.HANDSHAKE, b"bytes"],
    [control.WELCOME, 5, {"config": {"scheduler": "hybrid"}}],
    [control.REFUSED, "another version"],
    [control.CLIENT, b"client00", [76, 1, True, None]],
    [control.START_ACTOR, b"a" * 16, 3, {"depth": 0, "class": b"x"}, True],
    [control.WITHDRAW_ACTOR, b"a" * 16],
    [control.END_WORKER, b"worker00", CERTIFICATE],
    [control.RESERVE, b"g" * 16, 1, {0: {"CPU": 10000}, 2: {}}, b"job1"],
    [
        control.JOBS,
        [[b"job1", {"CPU": 1}, [{"CPU": 2}, {}], {"name": "a"}], [b"job2", {}, [], {}]],
        [b"job3"],
    ],
    [control.QUOTA_GIVE, b"job1", {"CPU": 10000}, True],
    [control.QUOTA_TIGHT, b"job1", False],
    [control.MAKE_ROOM, b"job1", {"GPU": 10000}],
    [control.SCALING, b"packed"],
    [control.RELEASE, b"g" * 16, 0],
    [control.GROUP, b"g" * 16, "CREATED", {0: 1, 1: 2}],
    [control.NODES, [NODE, {**NODE, "number": 4}]],
    [control.AVAILABLE, [[3, 77, {"CPU": 10000}, 2], [4, 78, {}, 0]]],
    [control.EXPLAIN_ACTOR, b"client00", 9, b"a" * 16, ["why"]],
    [control.GONE_CLIENTS, [b"client00", b"client01"]],
    [control.RENEWED, 12.5],
    [control.DRAIN],
    [control.END, "stopped"],
]


def test_the_descriptor_is_what_the_protocol_says() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "make_protocol.py"), "--check"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("message", TO_HEAD, ids=lambda message: str(message[0]))
def test_what_nodes_say_arrives_as_it_was(message: list[Any]) -> None:
    sent = protobuf.TO_HEAD.encode(message).SerializeToString()
    assert protobuf.TO_HEAD.decode(protobuf.NodeMessage.FromString(sent)) == message


@pytest.mark.parametrize("message", TO_NODE, ids=lambda message: str(message[0]))
def test_what_the_head_says_arrives_as_it_was(message: list[Any]) -> None:
    sent = protobuf.TO_NODE.encode(message).SerializeToString()
    assert protobuf.TO_NODE.decode(protobuf.HeadMessage.FromString(sent)) == message


def test_what_is_said_in_one_go_arrives_in_order() -> None:
    for side, made, messages in (
        (protobuf.TO_HEAD, protobuf.NodeMessage, TO_HEAD),
        (protobuf.TO_NODE, protobuf.HeadMessage, TO_NODE),
    ):
        sent = side.encode_several(messages).SerializeToString()
        assert side.decode_several(made.FromString(sent)) == messages
        alone = side.encode_several(messages[:1]).SerializeToString()
        assert side.decode_several(made.FromString(alone)) == messages[:1]
        with pytest.raises(ValueError, match="newer version"):
            side.decode(made.FromString(sent))  # where one message is expected, several are none


def test_every_kind_of_message_is_tried_here() -> None:
    assert {message[0] for message in TO_HEAD} == set(protobuf._TO_HEAD)
    assert {message[0] for message in TO_NODE} == set(protobuf._TO_NODE)


def test_a_message_of_a_newer_version_is_refused() -> None:
    with pytest.raises(ValueError, match="newer version"):
        protobuf.TO_HEAD.decode(protobuf.NodeMessage())
