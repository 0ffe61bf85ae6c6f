"""Keys and values at the head: a request that is asked again, since its answer was lost, is answered as it was."""

from __future__ import annotations

from typing import Any

import pytest

from shoal.config import Config
from shoal.metadata.memory import MemoryMetadata
from shoal.native.head.head import Head
from shoal.native.wire import control, kinds
from shoal.native.wire.nodes import driver_id
from shoal.schedulers.hybrid import HybridScheduler
from shoal.schedulers.sharing import FairSharing
from shoal.spec.resources import ResourceSet

ONE, OTHER = driver_id(1), driver_id(1)


class Keys:
    """Heads one after the other over one metadata store, with one node whose processes ask."""

    def __init__(self) -> None:
        self.metadata = MemoryMetadata("")
        self.answers: list[Any] = []
        self.restart()

    def restart(self) -> None:
        """The head is gone, and another one has begun."""
        self.head = Head(
            Config(), self.metadata, HybridScheduler({}), FairSharing(), lambda seconds, then: None
        )
        number = self.head.membership.reserve_number()
        self.head.attach(self, number, b"node0001", "", ResourceSet(), {}, {})

    def send(self, message: list[Any], soon: bool = True) -> None:
        if message[0] == control.CLIENT and message[2][0] == kinds.REPLY:
            self.answers.append(message[2][2:])

    def refresh(self) -> None:
        """Nothing runs here."""

    def ask(self, client: bytes, number: int, name: str, *arguments: Any) -> Any:
        self.head.requests.handle(client, number, name, list(arguments))
        ok, value = self.answers.pop()
        assert ok
        return value


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.mark.parametrize("overwrite", [False, True])
def test_who_asks_again_whether_it_was_first_hears_that_it_was(keys: Keys, overwrite: bool) -> None:
    assert keys.ask(ONE, 5, "kv_put", "names", b"key", b"mine", overwrite) is True
    keys.restart()
    assert keys.ask(ONE, 5, "kv_put", "names", b"key", b"mine", overwrite) is True
    assert keys.ask(ONE, 6, "kv_put", "names", b"key", b"again", False) is False
    assert keys.ask(OTHER, 5, "kv_put", "names", b"key", b"other", False) is False
    assert keys.ask(OTHER, 6, "kv_get", "names", b"key") == b"mine"


def test_who_asks_again_whether_it_was_first_hears_that_it_was_not(keys: Keys) -> None:
    assert keys.ask(ONE, 1, "kv_put", "names", b"key", b"old", True) is True
    assert keys.ask(OTHER, 1, "kv_put", "names", b"key", b"new", True) is False
    keys.restart()
    assert keys.ask(OTHER, 1, "kv_put", "names", b"key", b"new", True) is False
    assert keys.ask(ONE, 2, "kv_get", "names", b"key") == b"new"
    assert keys.ask(ONE, 3, "kv_keys", "names", b"k") == [b"key"]
    assert keys.ask(ONE, 4, "kv_delete", "names", b"key") is True
    assert keys.ask(ONE, 5, "kv_get", "names", b"key") is None
