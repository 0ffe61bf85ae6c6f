"""What this node's processes have asked the head and it has not answered: asked again when the head is back.

So is what they wait for: the states of actors and of placement groups.
"""

from __future__ import annotations

from typing import Any

from shoal.native.wire import control, kinds

Message = list[Any]
_WATCH = "watch_group"  # is answered at once, and then by what becomes of the group
_NOBODYS = 0  # the number of a request whose answer nobody waits for


class Asked:
    """Requests without an answer, and subscriptions, of this node's processes."""

    def __init__(self) -> None:
        self._requests: dict[tuple[bytes, int], Message] = {}
        self._subscriptions: dict[bytes, dict[bytes, None]] = {}  # client → actors
        self._watched: dict[bytes, dict[bytes, None]] = {}  # client → placement groups that it waits for

    def note(self, client: bytes, message: Message) -> None:
        """A process asks the head."""
        if message[0] == kinds.REQUEST:
            self._requests[client, message[1]] = message
            if message[2] == _WATCH:
                self._watched.setdefault(client, {})[message[3][0]] = None
        elif message[0] == kinds.SUBSCRIBE_ACTOR:
            self._subscriptions.setdefault(client, {})[message[1]] = None

    def answered(self, client: bytes, message: Message) -> None:
        """The head has told a process something."""
        if message[0] == kinds.REPLY:
            self._requests.pop((client, message[1]), None)
        elif message[0] == kinds.GROUP_STATE:
            self._watched.get(client, {}).pop(message[1], None)
        elif message[0] == kinds.ACTOR_STATE and message[2] == "DEAD":
            self._subscriptions.get(client, {}).pop(message[1], None)

    def forget(self, client: bytes) -> None:
        """A process has ended."""
        self._subscriptions.pop(client, None)
        self._watched.pop(client, None)
        for key in [key for key in self._requests if key[0] == client]:
            del self._requests[key]

    def unanswered(self) -> list[Message]:
        """Return the messages to the head that ask everything again: for actors only after they were created."""
        requests = [[control.FROM_CLIENT, client, message] for (client, _), message in self._requests.items()]
        subscriptions = [
            [control.FROM_CLIENT, client, [kinds.SUBSCRIBE_ACTOR, actor]]
            for client, actors in self._subscriptions.items()
            for actor in actors
        ]
        watches = [
            [control.FROM_CLIENT, client, [kinds.REQUEST, _NOBODYS, _WATCH, [group]]]
            for client, groups in self._watched.items()
            for group in groups
        ]
        return requests + subscriptions + watches
