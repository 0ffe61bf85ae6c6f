"""Checks of `shoal doctor`: what a cluster needs of a machine and of the network between its nodes."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from typing import Any

from shoal.config import Config
from shoal.errors import ShoalError
from shoal.interfaces.checks import BAD, GOOD, WARNING, Finding

_SECONDS = 3.0
_SLOW_SECONDS = 0.05
_CLOCK_SECONDS = 5.0  # more than an answer takes to come


def check_metadata(config: Config) -> Iterator[Finding]:
    """Look whether the metadata store that the settings name can be had."""
    from shoal.registry.drivers import load_driver
    from shoal.registry.groups import METADATA

    try:
        load_driver(METADATA, config.metadata, config.metadata_options)
    except ShoalError as error:
        yield Finding(BAD, str(error), "install what it names, or set metadata")
        return
    yield Finding(GOOD, f"heads keep their records by {config.metadata!r}")
    _, sign, rest = (config.metadata_location or "").partition("://")
    if sign:
        host, _, port = rest.rpartition("@")[2].partition("/")[0].rpartition(":")
        if host and port.isdecimal():
            yield _reach(host.strip("[]"), int(port), f"the metadata store {config.metadata!r}")


def check_network(config: Config) -> Iterator[Finding]:
    """Look at gRPC, the ports of a head, and whether the nodes of clusters on this machine reach each other."""
    try:
        import google.protobuf
        import grpc
    except ImportError as error:
        yield Finding(
            WARNING, f"clusters need {error.name}, which is not installed", "install shoal[cluster]"
        )
        return
    yield Finding(GOOD, f"clusters: grpc {grpc.__version__}, protobuf {google.protobuf.__version__}")
    from shoal.native.commands.check_machine import folder_of
    from shoal.native.process.node import find_nodes

    has_sessions = os.path.isdir(folder_of(config))  # looking must not make it
    nodes = find_nodes(config.temp_dir) if has_sessions else []
    if not nodes and config.head_port:
        yield _port(config.head_port)
    for head in sorted({node.head_address for node in nodes}):
        first = next(node for node in nodes if node.head_address == head)
        yield from _cluster(first.folder, head)


def _port(port: int) -> Finding:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError as error:
            cure = "set head_port to another, or end what listens there"
            return Finding(WARNING, f"a head's port {port} cannot be had: {error.strerror}", cure)
    return Finding(GOOD, f"a head's port {port} is free")


def _cluster(folder: str, head: str) -> Iterator[Finding]:
    from shoal.native.process.join import observe_session
    from shoal.native.process.session import Session

    try:
        client = observe_session(Session.read(folder))
        try:
            reports: list[dict[str, Any]] = client.request("look", timeout=2 * _SECONDS)
            now = time.time()
            found: list[dict[str, Any]] = client.request("nodes", timeout=_SECONDS)
        finally:
            client.close()
    except ShoalError as error:
        yield Finding(
            BAD, f"the cluster of {head} does not answer: {error}", "look into `shoal logs --daemon`"
        )
        return
    dead = [node for node in found if node["state"] == "DEAD"]
    for node in dead:
        cure = "if it should live: start it anew with `shoal start`"
        yield Finding(WARNING, f"node {node['address']} is dead: {node['reason']}", cure)
    for report in reports:
        if report["number"] in {node["number"] for node in dead}:
            continue
        if report.get("silent"):
            cure = "look whether its machine is overloaded, and into its `shoal logs --daemon`"
            yield Finding(BAD, f"node {report['number']} of the cluster of {head} does not answer", cure)
        elif abs(now - report["clock"]) > _CLOCK_SECONDS:
            text = f"the clock of node {report['node']} is {report['clock'] - now:+.1f} s from this machine's"
            yield Finding(WARNING, text, "run an NTP client on both: times in logs and traces do not fit")
    for node in found:
        if node["state"] != "DEAD" and node["address"]:
            host, _, port = str(node["address"]).rpartition(":")
            yield _reach(host.strip("[]"), int(port), f"node {node['id'].hex()} of the cluster of {head}")


def _reach(host: str, port: int, what: str) -> Finding:
    started = time.perf_counter()
    try:
        with socket.create_connection((host, port), timeout=_SECONDS):
            took = time.perf_counter() - started
    except OSError as error:
        cure = "look whether it runs and whether a firewall is between; listen_host must be what others reach"
        return Finding(BAD, f"{what} cannot be reached at {host}:{port}: {error}", cure)
    if took > _SLOW_SECONDS:
        return Finding(WARNING, f"{what} took {took * 1000:.0f} ms to answer", "look at the network between")
    return Finding(GOOD, f"{what} answers at {host}:{port} in {took * 1000:.1f} ms")
