"""The reference's classes for a runtime environment: a mapping with questions that can be asked of it."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from shoal.errors import describe

_KEYS = (
    "py_modules",
    "py_executable",
    "working_dir",
    "pip",
    "conda",
    "container",
    "env_vars",
    "worker_process_setup_hook",
    "nsight",
    "rocprof_sys",
    "config",
    "image_uri",
    "uv",
    "excludes",
)


@attrs.define
class RuntimeEnvConfig:
    """How an environment is made. `setup_timeout_seconds` is −1 for no limit."""

    setup_timeout_seconds: int = 600
    eager_install: bool = True
    log_files: list[str] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        seconds = self.setup_timeout_seconds
        if type(seconds) is not int or (seconds <= 0 and seconds != -1):
            raise ValueError(
                f"setup_timeout_seconds must be a whole number > 0, or −1, not {describe(seconds)}"
            )
        if not isinstance(self.eager_install, bool):
            raise TypeError(f"eager_install must be True or False, not {describe(self.eager_install)}")

    @classmethod
    def default_config(cls) -> RuntimeEnvConfig:
        """Return one with every default."""
        return cls()

    @classmethod
    def parse_and_validate_runtime_env_config(
        cls, config: Mapping[str, Any] | RuntimeEnvConfig
    ) -> RuntimeEnvConfig:
        """Return the configuration that a mapping describes. Raises TypeError, ValueError."""
        return config if isinstance(config, RuntimeEnvConfig) else cls(**config)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return attrs.asdict(self)


class RuntimeEnv(dict[str, Any]):
    """The environment of workers, as `runtime_env` takes it: a mapping of what was given.

    Which parts can be made depends on the installed steps (`shoal plugins` lists them); one that cannot is refused
    where the environment is used. Raises ValueError for keys that no runtime environment has and for parts that
    exclude each other.

    Example: `RuntimeEnv(env_vars={"MODE": "test"}, working_dir=".")`
    """

    def __init__(
        self,
        *,
        py_modules: Sequence[str] | None = None,
        py_executable: str | None = None,
        working_dir: str | None = None,
        pip: Any = None,
        conda: Any = None,
        container: Mapping[str, Any] | None = None,
        env_vars: Mapping[str, str] | None = None,
        worker_process_setup_hook: Any = None,
        nsight: Any = None,
        rocprof_sys: Any = None,
        config: Mapping[str, Any] | RuntimeEnvConfig | None = None,
        _validate: bool = True,
        image_uri: str | None = None,
        uv: Any = None,
        **kwargs: Any,
    ) -> None:
        given = {
            "py_modules": py_modules,
            "py_executable": py_executable,
            "working_dir": working_dir,
            "pip": pip,
            "conda": conda,
            "container": container,
            "env_vars": env_vars,
            "worker_process_setup_hook": worker_process_setup_hook,
            "nsight": nsight,
            "rocprof_sys": rocprof_sys,
            "image_uri": image_uri,
            "uv": uv,
            **kwargs,
        }
        if config is not None:
            given["config"] = RuntimeEnvConfig.parse_and_validate_runtime_env_config(config).to_dict()
        super().__init__({name: value for name, value in given.items() if value is not None})
        unknown = sorted(set(self) - set(_KEYS) - _installed()) if _validate else []
        if unknown:
            raise ValueError(
                f"runtime_env has no key {', '.join(unknown)}; it has: {', '.join(sorted(_KEYS))}"
            )
        packages = [name for name in ("pip", "uv", "conda") if name in self]
        if _validate and len(packages) > 1:
            raise ValueError(f"runtime_env can have one of pip, uv and conda, not {' and '.join(packages)}")

    def __setitem__(self, key: str, value: Any) -> None:
        if key not in _KEYS and key not in _installed():
            raise ValueError(f"runtime_env has no key {key!r}; it has: {', '.join(sorted(_KEYS))}")
        super().__setitem__(key, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (dict(self),)

    def set(self, name: str, value: Any) -> None:
        """Set one part; None takes it out. An object becomes plain data, attribute by attribute."""
        if value is None:
            self.pop(name, None)
        elif isinstance(value, RuntimeEnvConfig):
            self[name] = value.to_dict()
        else:
            self[name] = vars(value) if hasattr(value, "__dict__") else value

    def get(self, name: str, default: Any = None, data_class: Any = None) -> Any:
        """Return one part, made into a `data_class` if one is given."""
        if name not in self:
            return default
        found = self[name]
        return found if data_class is None else data_class(**found)

    def to_dict(self) -> dict[str, Any]:
        """Return a plain mapping."""
        return dict(self)

    def serialize(self) -> str:
        """Return it as JSON, with sorted keys."""
        return json.dumps(self, sort_keys=True)

    @classmethod
    def deserialize(cls, serialized_runtime_env: str) -> RuntimeEnv:
        """Make it again from `serialize`."""
        return cls(_validate=False, **json.loads(serialized_runtime_env))

    # Questions

    def working_dir(self) -> str | None:
        """Return the folder that work runs in."""
        return self.get("working_dir")  # type: ignore[no-any-return]

    def has_working_dir(self) -> bool:
        """Tell whether there is such a folder."""
        return bool(self.working_dir())

    def py_modules(self) -> list[str]:
        """Return the packages that are shipped."""
        return list(self.get("py_modules", ()))

    def py_executable(self) -> str | None:
        """Return the interpreter of the workers."""
        return self.get("py_executable")  # type: ignore[no-any-return]

    def working_dir_uri(self) -> str | None:
        """Return the address that the folder comes from, if it is given by one."""
        found = self.working_dir()
        return found if isinstance(found, str) and "://" in found else None

    def py_modules_uris(self) -> list[str]:
        """Return the addresses among the packages that are shipped."""
        return [each for each in self.py_modules() if "://" in str(each)]

    def plugins(self) -> list[tuple[str, Any]]:
        """Return the parts that plugins of third parties make, by name."""
        return [(name, value) for name, value in self.items() if name not in _KEYS]

    def get_extension(self, key: str) -> Any:
        """Return what an extension of the format says. Raises ValueError for what is none."""
        if key != "_ray_commit":
            raise ValueError(f"{key!r} is no extension of a runtime_env; there is _ray_commit")
        return self.get(key)

    def env_vars(self) -> dict[str, str]:
        """Return the environment variables."""
        return dict(self.get("env_vars", {}))

    def image_uri(self) -> str | None:
        """Return the container's image."""
        return self.get("image_uri")  # type: ignore[no-any-return]

    def nsight(self) -> Any:
        """Return what the profiler Nsight is to do."""
        return self.get("nsight")

    def rocprof_sys(self) -> Any:
        """Return what the profiler rocprof-sys is to do."""
        return self.get("rocprof_sys")

    def has_pip(self) -> bool:
        """Tell whether pip installs packages."""
        return bool(self.get("pip"))

    def has_uv(self) -> bool:
        """Tell whether uv installs packages."""
        return bool(self.get("uv"))

    def has_conda(self) -> bool:
        """Tell whether there is a conda environment."""
        return bool(self.get("conda"))

    def has_py_container(self) -> bool:
        """Tell whether workers run in a container."""
        return bool(self.get("container"))

    def pip_config(self) -> dict[str, Any]:
        """Return what pip is to do, as a mapping with `packages`."""
        return _packages(self.get("pip"))

    def uv_config(self) -> dict[str, Any]:
        """Return what uv is to do, as a mapping with `packages`."""
        return _packages(self.get("uv"))

    def conda_env_name(self) -> str | None:
        """Return the name of a conda environment that exists, if that was given."""
        found = self.get("conda")
        return found if isinstance(found, str) else None

    def conda_config(self) -> str | None:
        """Return what conda is to make, as JSON, if that was given."""
        found = self.get("conda")
        return json.dumps(found, sort_keys=True) if isinstance(found, dict) else None

    def py_container_image(self) -> str | None:
        """Return the image of the container."""
        return (self.get("container") or {}).get("image")

    def py_container_worker_path(self) -> str | None:
        """Return where a worker's program is inside the container."""
        return (self.get("container") or {}).get("worker_path")

    def py_container_run_options(self) -> list[str]:
        """Return options for starting the container."""
        return list((self.get("container") or {}).get("run_options", ()))


def _installed() -> set[str]:
    """Return the keys that installed plugins serve."""
    return {found.name for found in importlib.metadata.entry_points(group="shoal.environments")}


def _again(parts: dict[str, Any]) -> RuntimeEnv:
    return RuntimeEnv(_validate=False, **parts)


def _packages(given: Any) -> dict[str, Any]:
    if given is None:
        return {}
    return {"packages": list(given)} if isinstance(given, (list, tuple)) else dict(given)
