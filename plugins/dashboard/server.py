"""The HTTP server of a session: its life, from the socket to the last answer."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shoal.dashboard.access import Gate, Keys
from shoal.dashboard.context import SessionContext
from shoal.errors import ConfigError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from shoal.interfaces.services import WebSetup

_log = logging.getLogger("shoal.dashboard")
_CONNECTIONS = 256
_LAST_ANSWERS_SECONDS = 1


def serve(setup: WebSetup) -> None:
    """Serve a session at a socket until `setup.ended` is set: the service `dashboard` of the group `shoal.services`.

    Raises ConfigError if the extra `shoal[dashboard]` is not installed.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise ConfigError(
            f"the dashboard needs {error.name}: install it with `pip install 'shoal[dashboard]'`"
        ) from error
    context = SessionContext(setup)
    try:
        app = build(setup, context)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            loop="asyncio",
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_CONNECTIONS,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=_LAST_ANSWERS_SECONDS,
            ssl_certfile=setup.certificate or None,
            ssl_keyfile=setup.key or None,
        )
        server = uvicorn.Server(config)

        def end() -> None:
            setup.ended.wait()
            context.ending()
            server.should_exit = True

        threading.Thread(target=end, name="shoal-dashboard-end", daemon=True).start()
        _log.info("serving %s at %s", setup.session, setup.url)
        asyncio.run(server.serve(sockets=[setup.sock]))
    finally:
        setup.ended.set()
        context.close()


def build(setup: WebSetup, context: SessionContext) -> ASGIApp:
    """Return the whole application: what plugins contribute, behind the gate."""
    from shoal.dashboard.mounting import mount

    found = urlsplit(setup.url)
    keys = Keys(setup.token, found.port or 0)
    hosts = frozenset({found.hostname}) if found.hostname else frozenset[str]()
    app, limits = mount(setup, context, keys)
    return Gate(app, keys, hosts, limits)
