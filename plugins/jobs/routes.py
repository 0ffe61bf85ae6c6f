"""Jobs over HTTP: /api/jobs/ and /api/packages/, in the reference system's words. See docs/jobs.md."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from shoal.environments.package import find_package
from shoal.errors import ConfigError, ShoalError
from shoal.interfaces.routes import Contribution, RouteContext
from shoal.jobs import manager
from shoal.jobs.openapi import PATHS, SCHEMAS
from shoal.jobs.packages import MOST_BYTES, digest_of, keep_upload
from shoal.jobs.requests import read_submission

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_log = logging.getLogger("shoal.jobs")
_PIECE = 1 << 18
_MOST_LOG = 8 << 20  # bytes in the answer to /logs
_FIRST_POLL, _LAST_POLL = 0.05, 1.0  # seconds between looks at a log that is followed

Answer = tuple[int, Any]  # status, and plain data
Handler = Callable[["Request"], Awaitable["Answer | Response"]]


def routes(context: RouteContext) -> Contribution:
    """Return the routes of jobs; see `shoal.interfaces.routes`."""
    from starlette.routing import Route

    api = _Api(context)
    return Contribution(
        routes=[
            Route("/api/jobs/", api.guarded(api.list), methods=["GET"]),
            Route("/api/jobs/", api.guarded(api.submit), methods=["POST"]),
            Route("/api/jobs/{id}", api.guarded(api.get), methods=["GET"]),
            Route("/api/jobs/{id}", api.guarded(api.delete), methods=["DELETE"]),
            Route("/api/jobs/{id}/stop", api.guarded(api.stop), methods=["POST"]),
            Route("/api/jobs/{id}/logs", api.guarded(api.logs), methods=["GET"]),
            Route("/api/jobs/{id}/logs/tail", api.guarded(api.tail), methods=["GET"]),
            Route("/api/packages/{name}", api.guarded(api.has_package), methods=["GET"]),
            Route("/api/packages/{name}", api.guarded(api.put_package), methods=["PUT"]),
        ],
        paths=PATHS,
        schemas=SCHEMAS,
        body_limits={"/api/packages/": MOST_BYTES},
    )


class _Api:
    def __init__(self, context: RouteContext) -> None:
        self._context = context

    def guarded(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """Connect first, and answer in JSON whatever goes wrong."""

        from starlette.responses import JSONResponse, Response

        @functools.wraps(handler)
        async def guarded(request: Request) -> Response:
            answer = await self._answer(handler, request)
            return answer if isinstance(answer, Response) else JSONResponse(answer[1], answer[0])

        return guarded

    async def _answer(self, handler: Handler, request: Request) -> Answer | Response:
        try:
            await asyncio.to_thread(self._context.connect)
        except (ShoalError, OSError, RuntimeError) as error:
            return _problem(503, error)
        try:
            return await handler(request)
        except manager.JobNotFound as error:
            return _problem(404, error)
        except manager.JobConflict as error:
            return _problem(409, error)
        except (ConfigError, ValueError, TypeError) as error:
            return _problem(400, error)
        except (ShoalError, OSError, RuntimeError) as error:
            _log.warning("%s %s: %s", request.method, request.url.path, error)
            return _problem(503, error)

    async def list(self, request: Request) -> Answer:
        """Return every job and driver."""
        found = await asyncio.to_thread(manager.list_details)
        return 200, [one.to_json() for one in found]

    async def submit(self, request: Request) -> Answer:
        """Start a job."""
        asked = read_submission(await request.body())
        submission_id = await asyncio.to_thread(manager.submit, asked)
        return 200, {"job_id": submission_id, "submission_id": submission_id}

    async def get(self, request: Request) -> Answer:
        """Return one job."""
        submission_id = request.path_params["id"]

        def find() -> Any:
            return manager.details(submission_id, manager.info(submission_id)).to_json()

        return 200, await asyncio.to_thread(find)

    async def delete(self, request: Request) -> Answer:
        """Forget a job that is over."""
        await asyncio.to_thread(manager.delete, request.path_params["id"])
        return 200, {"deleted": True}

    async def stop(self, request: Request) -> Answer:
        """Ask a job to stop."""
        stopped = await asyncio.to_thread(manager.stop, request.path_params["id"])
        return 200, {"stopped": stopped}

    async def logs(self, request: Request) -> Answer:
        """Return the end of what a job has printed."""
        submission_id = request.path_params["id"]
        data, omitted = await asyncio.to_thread(manager.last_of_log, submission_id, _MOST_LOG)
        return 200, {"logs": data.decode(errors="replace"), "omitted_bytes": omitted}

    async def tail(self, request: Request) -> Response:
        """Stream what a job has printed, and with follow=true what it goes on to print until it is over."""
        from starlette.responses import StreamingResponse

        submission_id = request.path_params["id"]
        follow = request.query_params.get("follow", "false")
        if follow not in ("true", "false"):
            raise ConfigError(f"follow must be true or false, not {follow!r}")
        first = await asyncio.to_thread(manager.read_log, submission_id, 0, _PIECE)
        stream = _pieces(submission_id, first, follow == "true")
        return StreamingResponse(stream, media_type="text/plain; charset=utf-8")

    async def has_package(self, request: Request) -> Answer:
        """Tell whether a package needs not be sent."""
        name = request.path_params["name"]
        if await asyncio.to_thread(find_package, digest_of(name)) is None:
            return 404, {"error": f"package {name} was not sent yet"}
        return 200, {"exists": True}

    async def put_package(self, request: Request) -> Answer:
        """Take a package, in pieces: it need not fit into memory."""
        name = request.path_params["name"]
        digest_of(name)
        descriptor, path = tempfile.mkstemp(prefix="shoal-upload-", suffix=".zip")
        try:
            with open(descriptor, "wb") as file:
                async for piece in request.stream():
                    await asyncio.to_thread(file.write, piece)
            await asyncio.to_thread(keep_upload, path, name)
        finally:
            os.unlink(path)
        return 200, {"exists": True}


async def _pieces(submission_id: str, piece: manager.LogPiece, follow: bool) -> AsyncIterator[bytes]:
    pause = _FIRST_POLL
    while True:
        if piece.data:
            pause = _FIRST_POLL
            yield piece.data
        elif not follow or not piece.more:
            return
        else:
            await asyncio.sleep(pause)
            pause = min(_LAST_POLL, pause * 1.5)
        position = piece.position + len(piece.data)
        try:
            piece = await asyncio.to_thread(manager.read_log, submission_id, position, _PIECE)
        except (manager.JobNotFound, FileNotFoundError) as error:  # deleted, or its node has died
            yield f"\n[the log ends here: {error}]\n".encode()
            return


def _problem(status: int, error: Exception) -> Answer:
    return status, {"error": str(error), "type": type(error).__name__}
