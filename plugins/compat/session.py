"""`init` with the reference's arguments: what they mean here, and a warning for what has no meaning."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from typing import Any

import shoal
from shoal import SessionContext
from shoal.compat.environ import shoal_address
from shoal.compat.job_config import JobConfig
from shoal.compat.logging_config import LoggingConfig
from shoal.config import load_config

# The version of the reference whose names these are: programs compare it.
__version__ = "2.60.0"
__commit__ = ""

# Arguments with a leading underscore are the reference's own switches. These have a meaning here.
_OURS = frozenset({"_memory", "_temp_dir", "_tracing_startup_hook"})


def init(
    address: str | None = None,
    *,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    resources: Mapping[str, float] | None = None,
    labels: Mapping[str, str] | None = None,
    object_store_memory: int | None = None,
    local_mode: bool = False,
    ignore_reinit_error: bool = False,
    include_dashboard: bool | None = None,
    dashboard_host: str | None = None,
    dashboard_port: int | None = None,
    job_config: JobConfig | None = None,
    configure_logging: bool = True,
    logging_level: int | str | None = None,
    logging_format: str | None = None,
    logging_config: LoggingConfig | None = None,
    log_to_driver: bool | None = None,
    namespace: str | None = None,
    runtime_env: Mapping[str, Any] | None = None,
    enable_resource_isolation: bool = False,
    cgroup_path: str | None = None,
    system_reserved_cpu: float | None = None,
    system_reserved_memory: int | None = None,
    proxy_server_url: str | None = None,
    **kwargs: Any,
) -> SessionContext:
    """Start a session, or join one, with the reference's arguments; those of `shoal.init` are taken as well.

    What Shoal cannot do (isolation by cgroups, switches with a leading underscore) is named in one warning
    and left out, so that a program runs. Raises what `shoal.init` raises.
    """
    job = job_config if job_config is not None else JobConfig()
    if logging_config is not None:
        job.set_py_logging_config(logging_config)
    tracing_hook = kwargs.pop("_tracing_startup_hook", None)
    left_out = [name for name in kwargs if name.startswith("_") and name not in _OURS]
    for name in left_out:
        del kwargs[name]
    has_dashboard = _begins_session(address, local_mode, kwargs.get("engine"))
    wanted = {
        "include_dashboard": include_dashboard and not has_dashboard,
        "enable_resource_isolation": enable_resource_isolation,
        "cgroup_path": cgroup_path,
        "system_reserved_cpu": system_reserved_cpu,
        "system_reserved_memory": system_reserved_memory,
        "proxy_server_url": proxy_server_url,
    }
    left_out += [name for name, value in wanted.items() if value]
    if left_out:
        warnings.warn(
            f"left out of init(), since Shoal does not have it: {', '.join(left_out)}",
            UserWarning,
            stacklevel=2,
        )
    if job.py_logging_config is not None:
        job.py_logging_config.apply()
    elif logging_format is not None and configure_logging:
        logging.basicConfig(format=logging_format)
    session = shoal.init(
        None if address is None else shoal_address(address),
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        resources=resources,
        labels=labels,
        object_store_memory=object_store_memory,
        local_mode=local_mode,
        ignore_reinit_error=ignore_reinit_error,
        include_dashboard=include_dashboard if has_dashboard else None,
        dashboard_host=dashboard_host if has_dashboard else None,
        dashboard_port=dashboard_port if has_dashboard else None,
        configure_logging=configure_logging,
        logging_level=logging_level,
        log_to_driver=log_to_driver,
        namespace=namespace if namespace is not None else job.ray_namespace,
        runtime_env=runtime_env if runtime_env is not None else job.runtime_env or None,
        **kwargs,
    )
    if tracing_hook is not None:
        from shoal.util.tracing import enable_tracing

        enable_tracing(_ours(tracing_hook))
    return session


def _begins_session(address: str | None, local_mode: bool, engine: str | None) -> bool:
    """Whether there will be a session of this program's own, of native processes: only that has its own dashboard."""
    if address not in (None, "local") or local_mode:
        return False
    config = load_config({} if engine is None else {"engine": engine})
    return config.engine == "native" and config.address is None


def _ours(hook: Any) -> Any:
    """Return the hook by our name for it where it is the reference's own: workers import it by that."""
    theirs, ours = "ray.util.tracing.setup_local_tmp_tracing:", "shoal.util.tracing.local_files:"
    return ours + hook.removeprefix(theirs) if isinstance(hook, str) and hook.startswith(theirs) else hook
