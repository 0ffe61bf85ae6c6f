"""Starting, ending and using clusters that a file, or the same as plain data, describes."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shoal.autoscaler.home import Home, SshHome, home_of
from shoal.autoscaler.spec import ClusterSpec, cluster_of, read_cluster
from shoal.errors import ConfigError, describe
from shoal.interfaces.nodes import GONE, NodeStart
from shoal.scaling import load_nodes

ClusterConfig = str | os.PathLike[str] | Mapping[str, Any]
Callback = Callable[[Mapping[str, Any]], None]

EVENTS = ("up_started", "start_ray_runtime", "start_ray_runtime_completed", "cluster_booting_completed")
_callbacks: dict[str, list[Callback]] = {}
_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


def _spec(cluster_config: ClusterConfig) -> ClusterSpec:
    if isinstance(cluster_config, Mapping):
        return cluster_of(dict(cluster_config))
    return read_cluster(cluster_config)


def _home(cluster_config: ClusterConfig) -> Home:
    return home_of(_spec(cluster_config))


def fillout_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a cluster's description with the defaults of all keys that it leaves out. Raises ConfigError.

    Example: `fillout_defaults({…})["idle_seconds"]` is 60.
    """
    spec = cluster_of(dict(config))
    found = dict(config)
    for name in ("policy", "max_machines", "idle_seconds", "upscaling_speed", "launch_seconds"):
        found.setdefault(name, getattr(spec, name))
    found["node_types"] = {
        name: {"min": one.least, "max": one.most, "cost": one.cost, **config["node_types"][name]}
        for name, one in spec.types.items()
    }
    return found


def bootstrap_config(cluster_config: Mapping[str, Any], no_config_cache: bool = False) -> dict[str, Any]:
    """Return a cluster's description, checked, with its defaults.

    `no_config_cache` changes nothing: a description is never cached. Raises ConfigError.
    """
    return fillout_defaults(cluster_config)


def create_or_update_cluster(
    cluster_config: ClusterConfig,
    *,
    no_restart: bool = False,
    restart_only: bool = False,
    no_config_cache: bool = False,
) -> dict[str, Any]:
    """Start a cluster as `shoal up` does, or have the one that lives take over the description.

    Parameters: `cluster_config`, a file's path or what it would hold; `no_restart`: a head that lives goes on, as it
    does anyway; `restart_only`: raise ConfigError if there is no head to take over the description; `no_config_cache`
    changes nothing, since a description is never cached.
    Returns the description. Raises ConfigError, NodeProviderError.

    Example: `create_or_update_cluster("cluster.toml")`.
    """
    if no_restart and restart_only:
        raise ConfigError("no_restart and restart_only contradict each other: give one of them")
    folder = None
    path = cluster_config
    if isinstance(cluster_config, Mapping):
        folder = tempfile.mkdtemp(prefix="shoal-cluster-file-")
        path = os.path.join(folder, "cluster.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(cluster_config, file)
    assert not isinstance(path, Mapping)
    try:
        home = _home(path)
        if restart_only:
            home.head()
        _tell("up_started", home.spec)
        _tell("start_ray_runtime", home.spec)
        home.up()
        _tell("start_ray_runtime_completed", home.spec)
        _tell("cluster_booting_completed", home.spec)
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
    return dict(cluster_config) if isinstance(cluster_config, Mapping) else {"name": home.spec.name}


def teardown_cluster(
    cluster_config: ClusterConfig, workers_only: bool = False, keep_min_workers: bool = False
) -> None:
    """End a cluster as `shoal down` does: its head and all machines.

    Parameters: `workers_only`: leave the head; `keep_min_workers`, with it: leave as many machines as each type's min.
    Raises ConfigError, NodeProviderError if machines do not end.
    """
    if keep_min_workers and not workers_only:
        raise ConfigError("keep_min_workers goes with workers_only: without a head no machine is of use")
    _home(cluster_config).down(workers_only, keep_min_workers)


def run_on_cluster(
    cluster_config: ClusterConfig,
    *,
    cmd: str | Sequence[str] | None = None,
    run_env: str = "auto",
    tmux: bool = False,
    stop: bool = False,
    no_config_cache: bool = False,
    port_forward: Any = None,
    with_output: bool = False,
) -> str:
    """Run a command beside the head, as a program of the cluster; return what it prints if `with_output`, else "".

    Parameters: `cmd`, a line for the shell, or words; None does nothing. `run_env`: "auto" or "host", there are no
    containers around a head. `tmux`, `stop` and `port_forward` are not supported: anything but their defaults raises
    ConfigError. `no_config_cache` changes nothing. Raises NodeProviderError if the command fails.

    Example: `run_on_cluster("cluster.toml", cmd="nproc", with_output=True)`.
    """
    if run_env not in ("auto", "host"):
        raise ConfigError(f"run_env must be 'auto' or 'host', not {describe(run_env)}")
    if tmux or stop or port_forward:
        raise ConfigError("tmux, stop and port_forward are not supported: use `ssh` to the head for these")
    if cmd is None:
        return ""
    words = ["sh", "-c", cmd] if isinstance(cmd, str) else list(cmd)
    said = _home(cluster_config).output(words).decode(errors="replace")
    return said if with_output else ""


def rsync(
    cluster_config: ClusterConfig,
    *,
    source: str | None,
    target: str | None,
    down: bool,
    ip_address: str | None = None,
    use_internal_ip: bool = False,
    no_config_cache: bool = False,
    should_bootstrap: bool = True,
) -> None:
    """Copy a file, or what is in a folder, to the head's machine, or with `down` from there.

    Parameters: `source` and `target`, paths; `ip_address` and `use_internal_ip` can only mean the head: others raise
    ConfigError. `no_config_cache` and `should_bootstrap` change nothing, since nothing is cached.
    Raises ConfigError, NodeProviderError.

    Example: `rsync("cluster.toml", source="data", target="data", down=False)`.
    """
    if not source or not target:
        raise ConfigError("rsync needs a source and a target: there are no file mounts")
    if ip_address is not None or use_internal_ip:
        raise ConfigError("rsync reaches the head only; leave ip_address and use_internal_ip out")
    home = _home(cluster_config)
    if not isinstance(home, SshHome):
        _copy(source, target)
    elif down:
        archive = home.host.run(["sh", "-c", _PACK, "sh", source])
        _unpack(archive, target)
    else:
        home.host.run(["sh", "-c", _UNPACK, "sh", target], _pack(source))


# A folder is packed with what is in it, a file as `file`; who unpacks can tell by that name.
_PACK = 'if [ -d "$1" ]; then tar -C "$1" -cf - .; else tar -chf - --transform "s|.*|./.file|" -- "$1"; fi'
_UNPACK = (
    'into=$(mktemp -d) && tar -C "$into" -xf - && if [ -f "$into/.file" ]; then mkdir -p "$(dirname "$1")" && '
    'mv "$into/.file" "$1"; else mkdir -p "$1" && cp -a "$into/." "$1"; fi && rm -rf "$into"'
)


def _pack(source: str) -> bytes:
    if not os.path.exists(source):
        raise ConfigError(f"there is no {source} to copy")
    return subprocess.run(["sh", "-c", _PACK, "sh", source], check=True, capture_output=True).stdout


def _unpack(archive: bytes, target: str) -> None:
    subprocess.run(["sh", "-c", _UNPACK, "sh", target], check=True, input=archive, capture_output=True)


def _copy(source: str, target: str) -> None:
    if not os.path.exists(source):
        raise ConfigError(f"there is no {source} to copy")
    if os.path.realpath(source) != os.path.realpath(target):
        _unpack(_pack(source), target)


def get_head_node_ip(cluster_config: ClusterConfig) -> str:
    """Return the address of the head's machine. Raises ConfigError if the cluster is not up."""
    home = _home(cluster_config)
    host = home.head().address.rpartition(":")[0].strip("[]")
    return home.host.name if isinstance(home, SshHome) and host.startswith("127.") else host


def get_worker_node_ips(cluster_config: ClusterConfig) -> list[str]:
    """Return the addresses of the machines that were launched and are up. Raises NodeProviderError."""
    spec = _spec(cluster_config)
    start = NodeStart(head_address="", credentials_file="")
    provider = load_nodes(spec.provider, spec.name, start, spec.provider_options)
    try:
        return [one.address for one in provider.machines() if one.state != GONE and one.address]
    finally:
        provider.close()


def configure_logging(
    log_style: str | None = None, color_mode: str | None = None, verbosity: int | None = None
) -> None:
    """Say how much the autoscaler's functions log in this process, and how.

    Parameters: `log_style`: "record" has each line begin with its time, "pretty" and "auto" have it bare; `color_mode`:
    "auto", "false" or "never", since nothing is coloured; `verbosity`: 0 for warnings, 1 for what is done, 2 for all.
    Raises ConfigError for others.
    """
    if log_style not in (None, "auto", "pretty", "record"):
        raise ConfigError(f"log_style must be 'auto', 'pretty' or 'record', not {describe(log_style)}")
    if color_mode not in (None, "auto", "false", "never"):
        raise ConfigError(f"color_mode must be 'auto', 'false' or 'never', not {describe(color_mode)}")
    if verbosity is not None and (type(verbosity) is not int or not verbosity >= 0):
        raise ConfigError(f"verbosity must be 0, 1 or 2, not {describe(verbosity)}")
    logger = logging.getLogger("shoal.autoscaler")
    if verbosity is not None:
        logger.setLevel(_LEVELS[min(verbosity, 2)])
    if log_style is not None:
        handler = logging.StreamHandler()
        timed = "%(asctime)s %(levelname)s %(name)s: %(message)s"
        handler.setFormatter(logging.Formatter(timed if log_style == "record" else "%(message)s"))
        logger.handlers[:] = [handler]
        logger.propagate = False


def register_callback_handler(event_name: str, callback: Callback | Sequence[Callback]) -> None:
    """Have a function called with {"event": name, "cluster": name} as `create_or_update_cluster` goes on.

    Events are those in EVENTS; others raise ConfigError.

    Example: `register_callback_handler("cluster_booting_completed", print)`.
    """
    if event_name not in EVENTS:
        raise ConfigError(f"there is no event {describe(event_name)}; there are {', '.join(EVENTS)}")
    several = list(callback) if isinstance(callback, Sequence) else [callback]
    if not all(callable(one) for one in several):
        raise ConfigError(f"a callback is a function, not {describe(callback)}")
    _callbacks.setdefault(event_name, []).extend(several)


def _tell(event: str, spec: ClusterSpec) -> None:
    for callback in _callbacks.get(event, ()):
        callback({"event": event, "cluster": spec.name})
