"""What the reference calls the configuration of a job: settings of one program."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from shoal.compat.logging_config import LoggingConfig

LIFETIMES = ("detached", "non_detached")


class JobConfig:
    """Settings that `ray.init(job_config=...)` takes; arguments of `init` win over them.

    `ray_namespace` and `runtime_env` are the arguments of `init`, `metadata` is text of your own by name, and
    `default_actor_lifetime` must be "non_detached". Raises ValueError for "detached", and for settings of Java.
    """

    def __init__(
        self,
        jvm_options: list[str] | None = None,
        code_search_path: list[str] | None = None,
        runtime_env: Mapping[str, Any] | None = None,
        _client_job: bool = False,
        metadata: Mapping[str, str] | None = None,
        ray_namespace: str | None = None,
        default_actor_lifetime: str = "non_detached",
        _disable_job_level_lineage_reconstruction: bool = False,
        _py_driver_sys_path: list[str] | None = None,
    ) -> None:
        if jvm_options:
            raise ValueError("jvm_options are for Java workers, which Shoal has not")
        self.jvm_options: list[str] = []
        self.code_search_path: list[str] = list(code_search_path or [])
        self.metadata: dict[str, str] = dict(metadata or {})
        self.ray_namespace = ray_namespace
        self.runtime_env: dict[str, Any] = {}
        self.py_logging_config: LoggingConfig | None = None
        self.set_runtime_env(runtime_env)
        self.set_default_actor_lifetime(default_actor_lifetime)

    def set_metadata(self, key: str, value: str) -> None:
        """Keep text of your own."""
        self.metadata[key] = value

    def set_py_logging_config(self, logging_config: LoggingConfig | None = None) -> None:
        """Say how log records look."""
        self.py_logging_config = logging_config

    def ensure_logging_config(self, logging_config: LoggingConfig | None) -> None:
        """Say how log records look, unless that was said."""
        if self.py_logging_config is None:
            self.py_logging_config = logging_config

    def set_runtime_env(self, runtime_env: Mapping[str, Any] | None, validate: bool = False) -> None:
        """Set the environment of every worker; with `validate` its keys are looked at now."""
        if validate and runtime_env:
            from shoal.compat.runtime_env import RuntimeEnv

            runtime_env = RuntimeEnv(**runtime_env)
        self.runtime_env = dict(runtime_env or {})

    def set_ray_namespace(self, ray_namespace: str) -> None:
        """Set where names of actors are looked up."""
        self.ray_namespace = ray_namespace

    def set_default_actor_lifetime(self, default_actor_lifetime: str) -> None:
        """Accept "non_detached"; "detached" is an option of each actor here. Raises ValueError."""
        if default_actor_lifetime not in LIFETIMES:
            raise ValueError(
                f"default_actor_lifetime must be one of {', '.join(LIFETIMES)}, not {default_actor_lifetime!r}"
            )
        if default_actor_lifetime == "detached":
            raise ValueError(
                "detached actors by default are not in Shoal yet: give each actor lifetime='detached'"
            )
        self.default_actor_lifetime = default_actor_lifetime

    @classmethod
    def from_json(cls, job_config_json: Mapping[str, Any] | str) -> JobConfig:
        """Make one from a JSON object, as text or loaded."""
        found = json.loads(job_config_json) if isinstance(job_config_json, str) else job_config_json
        return cls(
            code_search_path=found.get("code_search_path"),
            runtime_env=found.get("runtime_env"),
            metadata=found.get("metadata"),
            ray_namespace=found.get("ray_namespace"),
        )
