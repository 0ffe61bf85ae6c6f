"""A connection over a socket pair: frames however they are cut, and peers that do not keep to the protocol."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.native.transport import connection as connections
from shoal.native.transport.connection import Connection
from shoal.native.wire.handshake import ClientHandshake, ServerHandshake

TOKEN = b"t" * 32
MIB = 2**20


class Ends:
    """A serving connection, and the raw socket of whoever talks to it."""

    def __init__(self) -> None:
        ours, self.raw = socket.socketpair()
        self.got: list[Any] = []
        self.opened = 0
        self.closed = 0
        self.connection = Connection(
            ours, ServerHandshake(TOKEN, b"server-1"), self._message, self._closed, self._opened
        )
        self.raw.settimeout(10)

    def _message(self, connection: Connection, message: Any) -> None:
        self.got.append(message)

    def _closed(self, connection: Connection) -> None:
        self.closed += 1

    def _opened(self, connection: Connection) -> None:
        self.opened += 1

    def pump(self) -> None:
        """Read all that is there."""
        while not self.connection.closed and select.select([self.connection], [], [], 0)[0]:
            self.connection.on_readable()

    def shake_hands(self, token: bytes = TOKEN) -> None:
        client = ClientHandshake(token, b"client-1")
        self.connection.flush()
        self.raw.sendall(client.feed(self.raw.recv(40, socket.MSG_WAITALL)))
        self.pump()
        if not self.connection.closed:
            client.feed(self.raw.recv(40, socket.MSG_WAITALL))

    def close(self) -> None:
        self.connection.close()
        self.raw.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.close()


@pytest.fixture
def open_ends(ends: Ends) -> Ends:
    ends.shake_hands()
    assert ends.connection.established
    return ends


def frame(message: Any) -> bytes:
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(4, "little") + body


MESSAGES: list[Any] = [[1, b"abc", None], [2], [3, "text" * 50, {"a": [1, 2]}], [4, b""]]


def test_frames_cut_at_every_byte_arrive_whole(open_ends: Ends) -> None:
    data = b"".join(map(frame, MESSAGES))
    for cut in range(len(data) + 1):
        open_ends.got.clear()
        for part in (data[:cut], data[cut:]):
            open_ends.raw.sendall(part)
            open_ends.pump()
        assert open_ends.got == MESSAGES, f"cut at {cut}"


def test_frames_byte_by_byte(open_ends: Ends) -> None:
    for byte in b"".join(map(frame, MESSAGES)):
        open_ends.raw.sendall(bytes([byte]))
        open_ends.pump()
    assert open_ends.got == MESSAGES


@settings(deadline=None, max_examples=30)
@given(
    messages=st.lists(
        st.lists(st.one_of(st.integers(0, 9), st.binary(max_size=300)), min_size=1), max_size=20
    ),
    cuts=st.lists(st.integers(1, 400), max_size=30),
)
def test_frames_cut_anyhow(messages: list[Any], cuts: list[int]) -> None:
    ends = Ends()
    try:
        ends.shake_hands()
        data = b"".join(map(frame, messages))
        for cut in cuts:
            ends.raw.sendall(data[:cut])
            data = data[cut:]
            ends.pump()
        ends.raw.sendall(data)
        ends.pump()
        assert ends.got == messages
    finally:
        ends.close()


def test_many_frames_in_one_read(open_ends: Ends) -> None:
    open_ends.raw.sendall(frame([1]) * 1_000)
    open_ends.pump()
    assert open_ends.got == [[1]] * 1_000


def test_a_large_frame_and_what_follows_it(open_ends: Ends) -> None:
    body = bytes(range(256)) * (8 * MIB // 256)
    data = memoryview(frame([1, body]) + frame([2]))
    open_ends.raw.setblocking(False)
    while data:
        try:
            data = data[open_ends.raw.send(data) :]
        except BlockingIOError:
            open_ends.pump()
    open_ends.pump()
    assert open_ends.got == [[1, body], [2]]


def test_an_oversized_frame_closes_before_it_is_read(
    open_ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MAX_FRAME", 1_000)
    open_ends.raw.sendall(frame([1, b"x" * 900]) + (1_001).to_bytes(4, "little"))
    open_ends.pump()
    assert open_ends.got == [[1, b"x" * 900]]
    assert open_ends.closed == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\xdd\xff\xff\xff\xff",
        b"\x01",
        b"\x90",
        b"\xa3abc",
        b"\x93\x01",
        b"\xc4\xff",
        b"\x91\xa1\xff",
        b"\x91\x81\x90\x01\xc1",
        b"\x91" * 20_000,
    ],
)
def test_a_frame_that_is_no_message_closes(open_ends: Ends, body: bytes) -> None:
    """Whoever has proved itself may still be broken: the connection ends, the process goes on."""
    open_ends.raw.sendall(len(body).to_bytes(4, "little") + body)
    open_ends.pump()
    assert open_ends.got == []
    assert open_ends.closed == 1


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n" * 5, b"\x00" * 80, frame([1, b"x" * 100])])
def test_garbage_before_the_handshake_closes_and_nothing_is_decoded(ends: Ends, garbage: bytes) -> None:
    ends.raw.sendall(garbage)
    ends.pump()
    assert (ends.got, ends.opened, ends.closed) == ([], 0, 1)
    assert not ends.connection.established


def test_frames_behind_a_wrong_proof_are_not_decoded(ends: Ends) -> None:
    ends.connection.flush()
    client = ClientHandshake(b"x" * 32, b"client-1")
    ends.raw.sendall(client.feed(ends.raw.recv(40, socket.MSG_WAITALL)) + frame([1]))
    ends.pump()
    assert (ends.got, ends.opened, ends.closed) == ([], 0, 1)
    assert ends.raw.recv(100) == b"", "no word in answer"


def test_frames_right_behind_the_proof_are_delivered(ends: Ends) -> None:
    ends.connection.flush()
    client = ClientHandshake(TOKEN, b"client-1")
    ends.raw.sendall(client.feed(ends.raw.recv(40, socket.MSG_WAITALL)) + frame([1]) + frame([2]))
    ends.pump()
    assert (ends.got, ends.opened) == ([[1], [2]], 1)
    assert ends.connection.peer == b"client-1"


def test_an_answer_cut_at_every_byte_is_accepted() -> None:
    for cut in range(1, 80):
        ends = Ends()
        ends.connection.flush()
        answer = ClientHandshake(TOKEN, b"client-1").feed(ends.raw.recv(40, socket.MSG_WAITALL))
        for part in (answer[:cut], answer[cut:]):
            ends.raw.sendall(part)
            ends.pump()
        assert ends.connection.established, f"cut at {cut}"
        ends.close()


def test_what_is_sent_before_the_handshake_waits_for_it(ends: Ends) -> None:
    ends.connection.send([7])
    ends.connection.flush()
    client = ClientHandshake(TOKEN, b"client-1")
    hello = ends.raw.recv(1_000)
    assert len(hello) == 40, "nothing but the greeting goes to a stranger"
    ends.raw.sendall(client.feed(hello))
    ends.pump()
    ends.connection.flush()
    client.feed(ends.raw.recv(40, socket.MSG_WAITALL))
    assert ends.raw.recv(100) == frame([7])


def test_output_waits_in_order_while_the_socket_is_full(open_ends: Ends) -> None:
    messages = [[number, b"x" * 100_000] for number in range(100)]
    for message in messages:
        open_ends.connection.send(message)
        open_ends.connection.flush()
    assert open_ends.connection.blocked
    assert open_ends.connection.has_output
    expected = b"".join(map(frame, messages))
    received = bytearray()
    while len(received) < len(expected):
        received += open_ends.raw.recv(MIB)
        open_ends.connection.flush()
    assert received == expected
    assert not open_ends.connection.blocked
    assert not open_ends.connection.has_output


def test_the_end_of_the_peer_is_told_once_after_its_last_words(open_ends: Ends) -> None:
    open_ends.raw.sendall(frame([1]) + frame([2])[:3])
    open_ends.raw.close()
    open_ends.pump()
    assert open_ends.got == [[1]], "what was whole is delivered, half a frame is not"
    assert open_ends.closed == 1
    open_ends.connection.send([3])
    assert not open_ends.connection.flush()
    open_ends.connection.close()
    assert open_ends.closed == 1


def test_writing_to_a_peer_that_is_gone_is_found_out_by_reading(open_ends: Ends) -> None:
    open_ends.raw.sendall(frame([1]))
    open_ends.raw.close()
    for _ in range(3):
        open_ends.connection.send([9])
        open_ends.connection.flush()
    assert open_ends.closed == 0
    open_ends.pump()
    assert (open_ends.got, open_ends.closed) == ([[1]], 1)


def test_what_one_connection_could_not_say_yet_another_says(open_ends: Ends) -> None:
    other = Ends()
    try:
        for message in MESSAGES:
            other.connection.send(message)
        open_ends.connection.inherit(other.connection)
        open_ends.connection.flush()
        wanted = b"".join(map(frame, MESSAGES))
        assert open_ends.raw.recv(len(wanted), socket.MSG_WAITALL) == wanted
        other.shake_hands()
        other.connection.flush()
        assert not select.select([other.raw], [], [], 0)[0], "it is not said twice"
    finally:
        other.close()
