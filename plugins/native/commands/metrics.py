"""`shoal metrics`: what the nodes of this machine tell Prometheus, how to have it asked, and dashboards for Grafana."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from typing import Any

import click

from shoal.native.commands.choose import choose_live, session_option
from shoal.observe.commands import json_option, say

_DISCOVERY = "prom_metrics_service_discovery.json"
_TOKEN = "metrics_token"
_SECONDS = 10.0


@click.group()
def metrics() -> None:
    """Metrics of nodes, for Prometheus and Grafana."""


@metrics.command()
@session_option("Session or node to ask, if several live")
@json_option("Print the address and the text as JSON.")
def show(session: str | None, json_: bool) -> None:
    """Print what a node of this machine tells Prometheus now."""
    folder = choose_live(session).folder
    target = _target(folder)
    with open(os.path.join(folder, _TOKEN), encoding="ascii") as file:
        token = file.read()
    request = urllib.request.Request(f"http://{target}/metrics", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            text = answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            raise click.ClickException(f"{target}: {error.read().decode().strip()}") from error
    except OSError as error:
        raise click.ClickException(f"{target} does not answer: {error}") from error
    say({"address": f"http://{target}/metrics", "text": text}, text.rstrip("\n"), json_)


def _target(folder: str) -> str:
    try:
        with open(os.path.join(folder, _DISCOVERY), encoding="utf-8") as file:
            return str(json.load(file)[0]["targets"][0])
    except FileNotFoundError as error:
        raise click.ClickException(
            f"{os.path.basename(folder)} tells no metrics: set metrics_port=0 for a program's own session; or its "
            "port was taken, which the node's log tells"
        ) from error


@metrics.command("prometheus")
@session_option("Session or node whose cluster is meant, if several live")
@json_option("Print the same as JSON, which Prometheus reads as well.")
def prometheus_command(session: str | None, json_: bool) -> None:
    """Print the configuration with which Prometheus asks the nodes of one cluster on this machine."""
    folder = choose_live(session).folder
    _target(folder)
    parent = os.path.dirname(folder)
    with open(os.path.join(folder, _TOKEN), "rb") as file:
        token = file.read()
    files = [
        os.path.join(parent, name, _DISCOVERY)
        for name in sorted(os.listdir(parent))
        if _same_token(os.path.join(parent, name, _TOKEN), token)
    ]
    credentials = os.path.join(folder, _TOKEN)
    plain: dict[str, Any] = {
        "scrape_configs": [
            {
                "job_name": "shoal",
                "scrape_interval": "10s",
                "authorization": {"type": "Bearer", "credentials_file": credentials},
                "file_sd_configs": [{"files": files}],
            }
        ]
    }
    lines = [
        "scrape_configs:",
        "  - job_name: shoal",
        "    scrape_interval: 10s",
        "    authorization:",
        "      type: Bearer",
        f"      credentials_file: {json.dumps(credentials)}",
        "    file_sd_configs:",
        "      - files:",
        *(f"          - {json.dumps(path)}" for path in files),
    ]
    say(plain, "\n".join(lines), json_)


def _same_token(path: str, token: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read() == token
    except OSError:
        return False


@metrics.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False),
    default=".",
    show_default=True,
    help="Folder to write into; it is made if it is missing.",
)
@json_option("Print the paths of the files as JSON.")
def dashboards(out: str, json_: bool) -> None:
    """Write a dashboard for Grafana, made of the table of metrics: import the file there."""
    from shoal.observe.dashboards import dashboard

    os.makedirs(out, exist_ok=True)
    path = os.path.join(out, "shoal.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(dashboard(), file, indent=2)
        file.write("\n")
    say([path], path, json_)
