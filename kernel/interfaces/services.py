"""Web services: programs that the head of a session keeps beside it, in a process of their own, for people and tools.

A service is a function that takes a `WebSetup` and serves at its socket until `ended` is set. It is registered as an
entry point of the group `shoal.services`; the head starts that which is named `dashboard`, when somebody comes to its
port for the first time. So a session whose dashboard nobody looks at pays for a listening socket at most, and a
service that is slow, or dies, slows no task: the socket stays with the head, which starts the process again.
"""

from __future__ import annotations

import hashlib
import hmac
import socket
import threading
from collections.abc import Callable

import attrs

DASHBOARD = "dashboard"  # the service that the head starts
GIVE_UP = 78  # exit status of a service that another try would not help
SETUP_FILE = "dashboard.json"  # in the session's folder: address and token, mode 0600


@attrs.frozen(kw_only=True)
class WebSetup:
    """What a web service gets. All but the socket and the event is plain data.

    `cluster` is the HOST:PORT of the head's service, which a program on this machine can join; "" if the session is a
    program's own, and for one that is dead. `certificate`, `key` and `authority` are files, "" without TLS.
    """

    session: str  # its name
    folder: str  # of the session, or of the head's node
    is_live: bool
    url: str  # that a person types
    token: str = attrs.field(repr=False)  # that a person logs in with
    cluster: str = ""
    certificate: str = ""
    key: str = ""
    authority: str = ""
    sock: socket.socket  # listens already
    ended: threading.Event = attrs.field(factory=threading.Event)


Service = Callable[[WebSetup], None]


def service_token(session_token: bytes, service: str = DASHBOARD) -> str:
    """Return what lets one into a web service of a session, and nowhere else: the session's token cannot be told of it.

    Example: `service_token(read_token("/tmp/shoal-0/session_…/token"))`
    """
    return hmac.new(session_token, b"shoal service " + service.encode(), hashlib.sha256).hexdigest()
