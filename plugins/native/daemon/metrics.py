"""A node's metrics for Prometheus, over HTTP on loopback.

Nothing is done for it while nobody asks: the daemon's loop accepts a connection and hands it to a thread, which reads
the question, has the loop copy the numbers, and writes the answer. Threads and bytes are bounded, so a scraper that
hangs or floods costs a few sockets and no task anything. Who asks proves to know the node's metrics token: one made of
the session's token, so that it gives away nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import socket
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from shoal.native.security.private import write_private
from shoal.observe.eventlog import FOLDER, segments
from shoal.observe.metrics import METRICS

if TYPE_CHECKING:
    from shoal.native.daemon.daemon import Daemon

_log = logging.getLogger("shoal.daemon")
DISCOVERY_FILE = "prom_metrics_service_discovery.json"
TOKEN_FILE = "metrics_token"
_HOST = "127.0.0.1"
_SECONDS = 2.0  # for a question to arrive, and for the loop to answer
_MOST_BYTES = 8192  # of a question
_AT_ONCE = 4
_USER_NAMESPACE = "kv:metrics"  # where shoal.util.metrics keeps its numbers
_TAG = 17  # bytes before a value of the key-value store

Numbers = list[tuple[str, dict[str, str], float]]


def metrics_token(session_token: bytes) -> str:
    """Return what lets one read the metrics of a session's nodes, and nothing else."""
    return hmac.new(session_token, b"shoal metrics", hashlib.sha256).hexdigest()


class MetricsService:
    """One node's endpoint."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._token = metrics_token(daemon.session.token).encode()
        self._busy = threading.Semaphore(_AT_ONCE)
        self._ended = Counter[str]()  # calls of processes that are gone
        self._tallies: dict[bytes, list[int]] = {}
        self.port = 0

    def begin(self) -> socket.socket | None:
        """Listen, and write where into the session's folder. Returns the socket to watch; None if it is off."""
        port = self._daemon.config.metrics_port
        if port is None:
            port = 0 if self._daemon.session.standing else -1
        if port < 0:
            return None
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((_HOST, port))
            listening.listen(16)
        except OSError as error:  # a node is worth more than its metrics
            listening.close()
            _log.error("no metrics: port %d of %s cannot be had (metrics_port): %s", port, _HOST, error)
            return None
        self.port = listening.getsockname()[1]
        session = self._daemon.session
        write_private(os.path.join(session.folder, TOKEN_FILE), self._token)
        labels = {"session": session.name, "node": session.node_id.hex()}
        found = [{"targets": [f"{_HOST}:{self.port}"], "labels": labels}]
        write_private(os.path.join(session.folder, DISCOVERY_FILE), json.dumps(found).encode())
        return listening

    def tally(self, process: bytes, finished: int, failed: int, running: int, waiting: int) -> None:
        """A process tells how many calls it has made."""
        self._tallies[process] = [finished, failed, running, waiting]

    def process_gone(self, process: bytes) -> None:
        """A process has ended: what it counted stays counted."""
        last = self._tallies.pop(process, None)
        if last is not None:
            self._ended.update(finished=last[0], failed=last[1])

    # Answering

    def accept(self, sock: socket.socket) -> None:
        """Somebody asks. Called in the loop."""
        if not self._busy.acquire(blocking=False):
            sock.close()  # who scrapes tries again
            return
        sock.settimeout(_SECONDS)
        threading.Thread(target=self._serve, args=(sock,), name="shoal-metrics", daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            with sock:
                status, kind, body = self._answer(_question(sock))
                head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                sock.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)
        except OSError:  # it went away, or is slow
            return
        except Exception:  # nothing of this may end the node
            _log.exception("metrics could not be told")
        finally:
            self._busy.release()

    def _answer(self, question: bytes) -> tuple[str, str, bytes]:
        plain = "text/plain; charset=utf-8"
        line, _, rest = question.partition(b"\r\n")
        words = line.split(b" ")
        if len(words) != 3 or words[0] != b"GET":
            return "405 Method Not Allowed", plain, b"GET /metrics\n"
        if words[1].partition(b"?")[0] != b"/metrics":
            return "404 Not Found", plain, b"there is /metrics\n"
        given = b""
        for header in rest.split(b"\r\n"):
            name, _, value = header.partition(b":")
            if name.strip().lower() == b"authorization":
                given = value.strip()
        if not hmac.compare_digest(given, b"Bearer " + self._token):
            text = f"Authorization: Bearer TOKEN is needed; the token is in the session's file {TOKEN_FILE}\n"
            return "401 Unauthorized\r\nWWW-Authenticate: Bearer", plain, text.encode()
        try:
            import prometheus_client
        except ImportError:
            return "501 Not Implemented", plain, b"metrics need prometheus_client: install shoal[dashboard]\n"
        found: list[tuple[Numbers, list[list[Any]]]] = []
        ready = threading.Event()

        def copy() -> None:
            try:
                found.append((self.numbers(), self._of_users()))
            finally:
                ready.set()

        self._daemon.call_soon(copy)
        if not ready.wait(_SECONDS) or not found:
            return "503 Service Unavailable", plain, b"the node is too busy to answer\n"
        registry = prometheus_client.CollectorRegistry(auto_describe=False)
        session = self._daemon.session
        labels = {"session": session.name, "node": session.node_id.hex()}
        registry.register(_Collector(*found[0], labels))
        body: bytes = prometheus_client.generate_latest(registry)
        return "200 OK", prometheus_client.CONTENT_TYPE_LATEST, body

    # Numbers. Called in the loop.

    def numbers(self) -> Numbers:
        """Return (metric, labels, value) of all that the table of metrics has."""
        daemon = self._daemon
        found: Numbers = []
        measured = daemon.events.measure()
        for name, value in measured.items():
            what, _, resource = name.partition(".")
            if resource:
                found.append((f"shoal_resource_{what}", {"resource": resource}, value))
            elif name in _NAMES:
                found.append((_NAMES[name], {}, value))
        sums = [sum(column) for column in zip(*self._tallies.values(), strict=True)] or [0, 0, 0, 0]
        for outcome, count in (("finished", sums[0]), ("failed", sums[1])):
            found.append(("shoal_tasks_ended_total", {"outcome": outcome}, count + self._ended[outcome]))
        found += [
            ("shoal_tasks", {"state": "running"}, float(sums[2])),
            ("shoal_tasks", {"state": "waiting"}, float(sums[3])),
        ]
        found += _by_state("shoal_workers", (worker.state for worker in daemon.pool.workers.values()))
        log = os.path.join(daemon.session.folder, FOLDER)
        found.append(("shoal_event_log_bytes", {}, float(sum(map(_size, segments(log))))))
        head = daemon.head
        if head is not None:
            found += _by_state("shoal_nodes", (node.state for node in head.membership.all()))
            found += _by_state("shoal_actors", (actor.state for actor in head.actors.directory.all()))
            groups = (str(group["state"]) for group in head.groups.book.table())
            found += _by_state("shoal_placement_groups", groups)
            found += _by_state("shoal_jobs", (job.state for job in head.jobs.directory.all()))
        return found

    def _of_users(self) -> list[list[Any]]:
        """Return the numbers that programs have counted; the head has those of all nodes."""
        head = self._daemon.head
        if head is None:
            return []
        found: list[list[Any]] = []
        for process, value in head.metadata.items(_USER_NAMESPACE):
            try:
                samples = json.loads(value[_TAG:])
            except ValueError:  # a value that a program put there by itself
                continue
            for sample in samples:
                if sample[1] == "gauge":
                    sample[2] = {**sample[2], "worker": process.decode("ascii", "replace")}
                found.append(sample)
        return found


_NAMES = {
    "memory_used_bytes": "shoal_node_memory_used_bytes",
    "memory_total_bytes": "shoal_node_memory_total_bytes",
    "load_1m": "shoal_node_load_1m",
    "cpu_used_fraction": "shoal_node_cpu_used_ratio",
    "store_used_bytes": "shoal_store_used_bytes",
    "store_capacity_bytes": "shoal_store_capacity_bytes",
    "store_objects": "shoal_store_objects",
    "store_spilled_bytes": "shoal_store_spilled_bytes",
    "store_spilled_objects": "shoal_store_spilled_objects",
    "leases_waiting": "shoal_leases_waiting",
    "processes_connected": "shoal_processes_connected",
}


class _Collector:
    """Gives numbers to prometheus_client."""

    def __init__(self, numbers: Numbers, of_users: list[list[Any]], labels: Mapping[str, str]) -> None:
        self._numbers = numbers
        self._of_users = of_users
        self._labels = dict(labels)

    def collect(self) -> Iterable[Any]:
        """Yield a family for each metric."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for spec in METRICS:
            mine = [(labels, value) for name, labels, value in self._numbers if name == spec.name]
            if not mine:
                continue
            family = CounterMetricFamily if spec.kind == "counter" else GaugeMetricFamily
            made = family(spec.name, spec.text, labels=[*self._labels, *spec.labels])
            for labels, value in mine:
                made.add_metric([*self._labels.values(), *(labels[name] for name in spec.labels)], value)
            yield made
        yield from self._collect_of_users()

    def _collect_of_users(self) -> Iterable[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        families: dict[str, list[list[Any]]] = {}
        ours = {spec.name for spec in METRICS}
        for sample in self._of_users:
            same = families.setdefault(sample[0], [])
            if sample[0] not in ours and (not same or same[0][1] == sample[1]):
                same.append(sample)
        for name, samples in families.items():
            if not samples:
                continue
            kind, text = samples[0][1], next((one[4] for one in samples if one[4]), "") or name
            tags = sorted({tag for sample in samples for tag in sample[2]})
            added: dict[tuple[str, ...], list[Any]] = {}
            for sample in samples:
                values = tuple(str(sample[2].get(tag, "")) for tag in tags)
                before = added.get(values)
                added[values] = sample if before is None or kind == "gauge" else _sum(before, sample)
            if kind == "histogram":
                histogram = HistogramMetricFamily(name, text, labels=[*self._labels, *tags])
                for values, sample in added.items():
                    histogram.add_metric(
                        [*self._labels.values(), *values], _cumulative(sample[6]), sum_value=sample[3]
                    )
                yield histogram
                continue
            family = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
            made = family(name, text, labels=[*self._labels, *tags])
            for values, sample in added.items():
                made.add_metric([*self._labels.values(), *values], sample[3])
            yield made


def _sum(one: list[Any], other: list[Any]) -> list[Any]:
    buckets = dict(map(tuple, one[6]))
    for bound, count in other[6]:
        buckets[bound] = buckets.get(bound, 0) + count
    return [*one[:3], one[3] + other[3], one[4], one[5] + other[5], sorted(buckets.items())]


def _cumulative(buckets: Iterable[tuple[float, int]]) -> list[tuple[str, float]]:
    total = 0
    found = []
    for bound, count in sorted((float(bound), count) for bound, count in buckets):
        total += count
        found.append(("+Inf" if bound == float("inf") else repr(bound), float(total)))
    return found


def _by_state(name: str, states: Iterable[str]) -> Numbers:
    return [
        (name, {"state": state.lower()}, float(count)) for state, count in sorted(Counter(states).items())
    ]


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except FileNotFoundError:  # trimmed meanwhile
        return 0


def _question(sock: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data and len(data) < _MOST_BYTES:
        part = sock.recv(_MOST_BYTES)
        if not part:
            break
        data += part
    return data.partition(b"\r\n\r\n")[0]
