"""An API server for pods over HTTP: as much of Kubernetes as machines need, and ways to misbehave."""

from __future__ import annotations

import json
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NAMESPACE = "/api/v1/namespaces/default/pods"


class PodServer:
    """Keeps pods in memory. `phase` is what new ones are; `quota` how many there may be; `hang` delays answers."""

    def __init__(self) -> None:
        self.pods: dict[str, dict[str, Any]] = {}
        self.phase = "Running"
        self.quota = 100
        self.page = 0  # 0: as asked
        self.hang = threading.Event()
        self.hang.set()  # clear it, and nothing is answered
        self.broken = False
        self.token = ""
        self.requests: list[tuple[str, str]] = []
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, status: int, value: dict[str, Any]) -> None:
                body = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                given = json.loads(self.rfile.read(length)) if length else {}
                outer.hang.wait(20)
                url = urllib.parse.urlsplit(self.path)
                outer.requests.append((self.command, url.path))
                query = dict(urllib.parse.parse_qsl(url.query))
                if outer.token and self.headers.get("Authorization") != f"Bearer {outer.token}":
                    status, value = 401, failure(401, "Unauthorized")
                elif outer.broken:
                    status, value = 500, failure(500, "etcdserver: request timed out")
                else:
                    with outer.lock:
                        status, value = outer.handle(self.command, url.path, query, given)
                try:
                    self.answer(status, value)
                except OSError:
                    self.close_connection = True  # who asked did not wait

            do_GET = do_POST = do_DELETE = serve  # noqa: N815  # as http.server calls them

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def handle(
        self, method: str, path: str, query: dict[str, str], given: dict[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        """Return the status and the body of an answer."""
        if not path.startswith(NAMESPACE):
            return 404, failure(404, f"{path} not found")
        name = path[len(NAMESPACE) :].strip("/")
        if method == "POST":
            return self.create(given)
        if not name:
            return 200, self.listed(query)
        pod = self.pods.get(name)
        if pod is None:
            return 404, failure(404, f'pods "{name}" not found')
        if method == "DELETE":
            if pod["status"]["phase"] in ("Failed", "Succeeded"):
                del self.pods[name]
            else:
                pod["metadata"]["deletionTimestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                threading.Timer(0.2, lambda: self.pods.pop(name, None)).start()
        return 200, pod

    def create(self, given: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        name = given["metadata"]["name"]
        if not given["spec"]["containers"][0].get("image"):
            return 422, failure(422, f'Pod "{name}" is invalid: spec.containers[0].image: Required value')
        if name in self.pods:
            return 409, failure(409, f'pods "{name}" already exists')
        if len(self.pods) >= self.quota:
            return 403, failure(
                403, f'pods "{name}" is forbidden: exceeded quota: pods, limited: pods={self.quota}'
            )
        status = {"phase": self.phase, "podIP": "10.1.2.3" if self.phase == "Running" else None}
        self.pods[name] = {**given, "status": status}
        return 201, self.pods[name]

    def listed(self, query: dict[str, str]) -> dict[str, Any]:
        key, _, value = query.get("labelSelector", "").partition("=")
        found = [pod for _, pod in sorted(self.pods.items()) if pod["metadata"]["labels"].get(key) == value]
        first = int(query.get("continue") or 0)
        last = first + (self.page or int(query.get("limit") or 1000))
        metadata = {"continue": str(last)} if last < len(found) else {}
        return {"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": found[first:last]}

    def close(self) -> None:
        self.hang.set()
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()


def failure(status: int, message: str) -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": status}
