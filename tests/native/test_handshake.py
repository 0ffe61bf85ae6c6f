"""The handshake proves the token in both directions; one wrong bit anywhere and there is no connection."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import AuthenticationFailed
from shoal.native.wire import handshake, kinds
from shoal.native.wire.handshake import ClientHandshake, ServerHandshake

TOKEN = b"t" * 32
SERVER, CLIENT = b"server-1", b"client-1"
SIZES = (40, 80, 40)  # bytes of the three messages


def pair(token: bytes = TOKEN) -> tuple[ServerHandshake, ClientHandshake]:
    return ServerHandshake(TOKEN, SERVER), ClientHandshake(token, CLIENT)


def test_both_sides_learn_who_the_other_is() -> None:
    server, client = pair()
    assert client.begin() == b"", "the server begins"
    hello = server.begin()
    answer = client.feed(hello)
    accept = server.feed(answer)
    assert client.feed(accept) == b""
    assert (len(hello), len(answer), len(accept)) == SIZES
    assert server.done
    assert client.done
    assert (server.peer, client.peer) == (CLIENT, SERVER)


def test_the_token_never_crosses_the_wire() -> None:
    server, client = pair()
    hello = server.begin()
    answer = client.feed(hello)
    accept = server.feed(answer)
    assert TOKEN not in hello + answer + accept


@given(message=st.integers(0, 2), bit=st.integers(0, 80 * 8 - 1))
def test_any_bit_flipped_on_the_way_ends_it(message: int, bit: int) -> None:
    server, client = pair()
    position = bit // 8 % SIZES[message]

    def spoil(data: bytes, number: int) -> bytes:
        if number != message:
            return data
        return data[:position] + bytes([data[position] ^ (1 << bit % 8)]) + data[position + 1 :]

    with pytest.raises(AuthenticationFailed):
        client.feed(spoil(server.feed(spoil(client.feed(spoil(server.begin(), 0)), 1)), 2))
    assert not (server.done and client.done)


def test_a_client_with_another_token_is_refused() -> None:
    server, client = pair(token=b"x" * 32)
    with pytest.raises(AuthenticationFailed, match="client does not know"):
        server.feed(client.feed(server.begin()))
    assert not server.done


def test_a_server_with_another_token_is_refused() -> None:
    """Someone else listens at the path: the client must not talk to it."""
    server, client = pair()
    client.feed(server.begin())
    with pytest.raises(AuthenticationFailed, match="server does not know"):
        client.feed(SERVER + b"p" * 32)
    assert not client.done


def test_a_replayed_answer_proves_nothing_to_another_connection() -> None:
    server, client = pair()
    answer = client.feed(server.begin())
    server.feed(answer)
    again = ServerHandshake(TOKEN, SERVER)
    again.begin()
    with pytest.raises(AuthenticationFailed):
        again.feed(answer)


def test_a_servers_proof_sent_back_is_no_clients_proof() -> None:
    """Reflection: both proofs are over the same nonces, but each names its side."""
    server, client = pair()
    hello = server.begin()
    accept = server.feed(client.feed(hello))
    reflected = hello[:8] + b"n" * 32 + accept
    with pytest.raises(AuthenticationFailed):
        ServerHandshake(TOKEN, SERVER).feed(reflected)


def test_another_version_says_which_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    server, client = pair()
    monkeypatch.setattr(handshake, "PROTOCOL", kinds.PROTOCOL + 1)
    hello = server.begin()
    monkeypatch.undo()
    with pytest.raises(AuthenticationFailed) as caught:
        client.feed(hello)
    assert f"protocol {kinds.PROTOCOL + 1}, this one {kinds.PROTOCOL}" in str(caught.value)
    assert "one version" in str(caught.value)


def test_another_protocol_is_recognised() -> None:
    _, client = pair()
    with pytest.raises(AuthenticationFailed, match="does not speak"):
        client.feed(b"HTTP/1.1 400 Bad Request\r\n".ljust(40))
