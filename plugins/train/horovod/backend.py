"""What `horovodrun` gives its processes: variables, and a server of keys and values where they meet (Gloo's)."""

from __future__ import annotations

import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import attrs

from shoal.train.backend import Backend, BackendConfig
from shoal.train.group import WorkerGroup
from shoal.train.session import session_here

_MOST_BYTES = 1 << 20  # of one value: addresses


class HorovodBackend(Backend):
    """Opens the server in rank 0 and writes HOROVOD_… in every rank's environment."""

    def on_start(self, worker_group: WorkerGroup, backend_config: BackendConfig) -> None:
        """Open the server, then write where it is."""
        first = worker_group.workers[0].metadata
        port = worker_group.execute_single(0, open_rendezvous, first.node_ip)
        worker_group.execute_each(
            [
                (write_place, first.node_ip, port, worker.metadata.node_ip, _cross(worker_group, rank))
                for rank, worker in enumerate(worker_group.workers)
            ]
        )

    def on_shutdown(self, worker_group: WorkerGroup, backend_config: BackendConfig) -> None:
        """Close the server."""
        worker_group.execute_single(0, close_rendezvous)


@attrs.frozen
class HorovodConfig(BackendConfig):
    """Horovod over Gloo, as `horovodrun --gloo` starts it. `import horovod.torch as hvd; hvd.init()` does the rest.

    Example: `HorovodTrainer(train, horovod_config=HorovodConfig())`
    """

    preload: ClassVar[tuple[str, ...]] = ("numpy",)

    @property
    def backend_cls(self) -> type[Backend]:
        """The class of the backend."""
        return HorovodBackend

    @property
    def framework(self) -> str | None:
        """The framework's name."""
        return "horovod"

    def to_dict(self) -> dict[str, Any]:
        """Return the settings: none."""
        return {}


def _cross(group: WorkerGroup, rank: int) -> tuple[int, int]:
    """The rank's number among those of its local rank on all nodes, and how many those are."""
    local = group.workers[rank].metadata.place.local_rank
    same = [each for each, worker in enumerate(group.workers) if worker.metadata.place.local_rank == local]
    return same.index(rank), len(same)


class _Values(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: str) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, 0), _Handler)
        self.values: dict[str, bytes] = {}
        self.lock = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    """GET, PUT and DELETE of /scope/key; a key that is not there yet is 404, and who asks tries again."""

    server: _Values
    protocol_version = "HTTP/1.1"

    def _answer(self, code: int, body: bytes = b"") -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        with self.server.lock:
            value = self.server.values.get(self.path)
        self._answer(404 if value is None else 200, value or b"")

    def do_PUT(self) -> None:
        size = int(self.headers.get("Content-Length", -1))
        if not 0 <= size <= _MOST_BYTES:
            self.close_connection = True
            self._answer(413)
            return
        value = self.rfile.read(size)
        with self.server.lock:
            self.server.values[self.path] = value
        self._answer(200)

    def do_DELETE(self) -> None:
        with self.server.lock:
            self.server.values.pop(self.path, None)
        self._answer(200)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def open_rendezvous(address: str) -> int:
    """Open the server on the node's address only; return its port. Runs in rank 0."""
    server = _Values(address)
    session_here("open_rendezvous").stash["rendezvous"] = server
    threading.Thread(
        target=server.serve_forever, args=(0.1,), name="shoal-train-rendezvous", daemon=True
    ).start()
    port: int = server.server_address[1]
    return port


def close_rendezvous() -> None:
    """Close the server. Runs in rank 0."""
    server = session_here("close_rendezvous").stash.pop("rendezvous", None)
    if server is not None:
        server.shutdown()
        server.server_close()


def write_place(address: str, port: int, own: str, cross: tuple[int, int]) -> None:
    """Write this rank's variables. Runs in every rank."""
    place = session_here("write_place").place
    os.environ.update(
        HOROVOD_RANK=str(place.world_rank),
        HOROVOD_SIZE=str(place.world_size),
        HOROVOD_LOCAL_RANK=str(place.local_rank),
        HOROVOD_LOCAL_SIZE=str(place.local_world_size),
        HOROVOD_CROSS_RANK=str(cross[0]),
        HOROVOD_CROSS_SIZE=str(cross[1]),
        HOROVOD_HOSTNAME=own,
        HOROVOD_CONTROLLER="gloo",
        HOROVOD_CPU_OPERATIONS="gloo",
        HOROVOD_GLOO_RENDEZVOUS_ADDR=address,
        HOROVOD_GLOO_RENDEZVOUS_PORT=str(port),
    )
    if own.startswith("127."):
        os.environ.setdefault("HOROVOD_GLOO_IFACE", "lo")
