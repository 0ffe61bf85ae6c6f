"""The settings: name, type, default, environment variable and meaning of each, in one declared table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from shoal.config.kinds import Flag, Kind, Names, Number, Size, Table, Text
from shoal.errors import ConfigError, describe

ARGUMENT = "argument"
DEFAULT = "default"


def _setting(default: Any, kind: Kind, doc: str) -> Any:
    """Declare one field. A mapping as the default is made anew for each Config."""

    def convert(value: Any, field: attrs.Attribute[Any]) -> Any:
        try:
            return kind(value)
        except ValueError as error:
            raise bad_value(field.name, value, ARGUMENT, error) from None

    converter = attrs.Converter(convert, takes_field=True)
    metadata = {"doc": doc, "kind": kind}
    if isinstance(default, dict):
        return attrs.field(factory=default.copy, converter=converter, metadata=metadata, hash=False)
    return attrs.field(default=default, converter=converter, metadata=metadata)


def bad_value(name: str, value: Any, origin: str, why: Exception) -> ConfigError:
    """Make the error for one wrong value: what came, where from, what is allowed."""
    return ConfigError(f"{name} {why}, not {describe(value)} (from {origin})")


@attrs.frozen(kw_only=True)
class Config:
    """All settings of a session: frozen, checked, and the same in each of its processes.

    None means that the session decides at its start. Units are in the names. `load_config` fills one from arguments,
    SHOAL_… variables and files; a wrong value raises ConfigError, which says what is allowed.

    Example: `Config(num_cpus=2, store="heap").scheduler` is `"hybrid"`.
    """

    # What executes, decides and keeps: names of plugins
    engine: str = _setting("native", Text(), "Plugin that executes the program (group shoal.engines).")
    scheduler: str = _setting("hybrid", Text(), "Plugin that places work on nodes (group shoal.schedulers).")
    sharing: str = _setting(
        "fair", Text(), "Plugin that says which of several jobs is served first (group shoal.sharing)."
    )
    store: str = _setting(
        "spill", Text(), "Plugin that keeps object bytes (group shoal.stores); spill: disk behind shm."
    )
    metadata: str = _setting("sqlite", Text(), "Plugin that keeps the head's records (group shoal.metadata).")
    accelerators: tuple[str, ...] = _setting(
        ("cpu", "cuda"), Names(), "Plugins that look for devices (group shoal.accelerators)."
    )
    engine_options: Mapping[str, Any] = _setting({}, Table(), "Options of the engine.")
    scheduler_options: Mapping[str, Any] = _setting({}, Table(), "Options of the scheduler.")
    store_options: Mapping[str, Any] = _setting({}, Table(), "Options of the object store.")
    metadata_location: str | None = _setting(
        None,
        Text(optional=True),
        "Where the metadata store is: a path, or a URL such as redis://HOST:6379/0; None: a file of the session's own.",
    )
    metadata_options: Mapping[str, Any] = _setting({}, Table(), "Options of the metadata store.")

    autoscaling: str | None = _setting(
        None,
        Text(optional=True),
        "File that describes the cluster: the head of a cluster runs an autoscaler for it; None: it runs none.",
    )

    # The program, as one of several jobs of a cluster
    job_name: str | None = _setting(
        None, Text(optional=True), "What people call the program; None: its identifier."
    )
    job_priority: int = _setting(
        0, Number(-1000, 1000, whole=True), "Jobs of higher priority are served first, strictly."
    )
    job_share: float = _setting(
        1,
        Number(0.001, 1_000_000),
        "The program's weight among jobs of its priority: 3 has three times what 1 has.",
    )
    job_quota: Mapping[str, float] = _setting(
        {}, Table(Number(0)), "Most of a resource that the program may have in the whole cluster, by name."
    )
    job_preemptible: bool = _setting(
        True,
        Flag(),
        "Whether its retriable tasks may be ended for a job of higher priority (see preemption).",
    )
    job_stop_seconds: float = _setting(
        3, Number(0, 3600), "A submitted job that is stopped gets SIGTERM, and SIGKILL after this long."
    )
    preemption: bool = _setting(
        False,
        Flag(),
        "Whether retriable tasks are ended, to run again later, when a job of higher priority waits.",
    )
    preemption_grace_seconds: float = _setting(
        5, Number(0), "How long a demand waits before tasks of lower priority are ended for it."
    )

    # What this node has
    num_cpus: float | None = _setting(
        None, Number(0, optional=True), "CPUs to offer; None: as many as usable."
    )
    num_gpus: float | None = _setting(None, Number(0, optional=True), "GPUs to offer; None: those detected.")
    memory_bytes: int | None = _setting(
        None,
        Size(optional=True),
        "Memory to offer to tasks; None: what the machine has, less the object store.",
    )
    object_store_bytes: int | None = _setting(
        None, Size(2**20, optional=True), "Room for objects in shared memory; None: 30 % of the memory."
    )
    resources: Mapping[str, float] = _setting({}, Table(Number(0)), "Resources of your own naming to offer.")
    labels: Mapping[str, str] = _setting({}, Table(Text(empty=True)), "Labels of this node.")
    max_workers: int | None = _setting(
        None, Number(1, whole=True, optional=True), "Worker processes at most; None: as work needs."
    )

    # The session
    address: str | None = _setting(
        None,
        Text(optional=True),
        "Cluster to join: auto, HOST:PORT, or from outside shoal://HOST:PORT; None: a session of its own.",
    )
    client_grace_seconds: float = _setting(
        30,
        Number(0),
        "How long the work of a program outside the cluster (shoal://) is kept while its connection is broken.",
    )
    credentials_file: str | None = _setting(
        None,
        Text(optional=True),
        "File with the cluster's credentials, for shoal:// addresses; None: those of a node of this machine.",
    )
    namespace: str | None = _setting(
        None, Text(optional=True), "Where names of actors are looked up; None: the session's own."
    )
    runtime_env: Mapping[str, Any] = _setting({}, Table(), "Environment of every worker of the program.")
    temp_dir: str | None = _setting(
        None, Text(optional=True), "Folder of session folders; None: a private one below the system's."
    )
    spill_dir: str | None = _setting(
        None, Text(optional=True), "Folder for spilled objects; None: inside the session folder."
    )

    # Environments of workers
    environment_cache_dir: str | None = _setting(
        None,
        Text(optional=True),
        "Folder of environments that were built (pip, uv, conda); None: a private one below the system's.",
    )
    environment_cache_bytes: int = _setting(
        10 * 2**30, Size(), "Environments that nobody uses are removed, oldest first, above this size."
    )
    environment_setup_seconds: float = _setting(
        600, Number(1), "How long an environment may take to be made, unless it says so itself."
    )

    # Objects and memory
    inline_object_max_bytes: int = _setting(
        100 * 1024,
        Size(),
        "Results and arguments up to this size travel inside messages, not through the store.",
    )
    record_call_sites: bool = _setting(
        False, Flag(), "Remember where references were made, for `shoal memory`; costs microseconds a call."
    )
    durable_state_max_bytes: int = _setting(
        256 * 2**20,
        Size(1024),
        "The state of a durable actor may take up to this many bytes when it is saved.",
    )
    memory_usage_threshold: float = _setting(
        0.95,
        Number(0, 1),
        "Share of the machine's memory in use above which the newest retriable task is ended.",
    )
    memory_monitor_interval_seconds: float = _setting(
        0.25, Number(0), "How often memory use is looked at; 0: never."
    )

    # Workers and scheduling
    worker_start_timeout_seconds: float = _setting(60, Number(0.1), "How long a worker may take to come up.")
    node_timeout_seconds: float = _setting(
        5, Number(0.5), "A node that the head has not heard of for this long is dead."
    )
    node_grace_seconds: float = _setting(
        1, Number(0), "A node whose connection to the head broke is dead if it is not back after this long."
    )
    head_wait_seconds: float = _setting(
        60,
        Number(0),
        "How long a node waits for a head that does not answer, at first and after it was lost.",
    )
    listen_host: str | None = _setting(
        None,
        Text(optional=True),
        "Address on which this machine's node of a cluster listens; None: loopback.",
    )
    tls: str = _setting(
        "auto",
        Text("auto", "on", "off"),
        "TLS between the nodes of a cluster; auto: on unless all of it is on loopback.",
    )
    allow_plaintext: bool = _setting(
        False, Flag(), "Lets tls=off hold beyond loopback: for networks that encrypt by themselves."
    )
    tls_ca: str | None = _setting(
        None, Text(optional=True), "File of the authorities that are trusted, in PEM form; with tls_cert."
    )
    tls_cert: str | None = _setting(
        None,
        Text(optional=True),
        "File of this node's own certificate, in PEM form; None: one made of the cluster's credentials.",
    )
    tls_key: str | None = _setting(None, Text(optional=True), "File of its key, mode 0600; with tls_cert.")
    head_port: int = _setting(6389, Number(0, whole=True), "Port of the head's service; 0: any free one.")
    node_port: int = _setting(0, Number(0, whole=True), "Port of a node's door; 0: any free one.")
    worker_preload: tuple[str, ...] = _setting(
        ("shoal.api.remote",),
        Names(),
        "Modules that are imported once, before workers are forked: a new worker has them at no cost.",
    )
    idle_worker_seconds: float = _setting(
        60, Number(0), "An idle worker beyond one per CPU ends after this long."
    )
    lease_idle_seconds: float = _setting(
        1, Number(0), "A caller gives an idle leased worker back after this long."
    )
    infeasible: str = _setting(
        "warn", Text("warn", "error"), "Work that no node could ever run: wait and warn, or fail at once."
    )
    infeasible_warning_seconds: float = _setting(
        10, Number(0), "How long such work waits before the warning."
    )
    get_warning_seconds: float = _setting(
        30, Number(0), "get() says why it still waits after this long; 0: never."
    )

    # Logs and records
    log_to_driver: bool = _setting(True, Flag(), "Whether what workers print appears at the driver.")
    log_level: str = _setting(
        "info", Text("debug", "info", "warning", "error"), "Least level of Shoal's own log records."
    )
    log_format: str = _setting(
        "text",
        Text("text", "json"),
        "How logs are kept: as they were printed, or each line as JSON, with its time, process, task and actor.",
    )
    log_file_max_bytes: int = _setting(128 * 2**20, Size(4096), "A log file is rotated at this size.")
    log_files_max: int = _setting(5, Number(1, whole=True), "Rotated files kept of each log.")
    session_log_max_bytes: int = _setting(2 * 2**30, Size(2**20), "All logs of a session together at most.")
    event_log_max_bytes: int = _setting(
        32 * 2**20,
        Size(0),
        "The event log of a session's node at most; the oldest events go first. 0: none is kept.",
    )
    event_log_calls_per_second: int = _setting(
        10_000,
        Number(1, whole=True),
        "Calls that a process records in a second; of more it records a sample, and how many it left out.",
    )
    metrics_port: int | None = _setting(
        None,
        Number(-1, 65535, whole=True, optional=True),
        "Port on loopback where a node tells its metrics to Prometheus; 0: any free one; -1: nowhere; None: any "
        "free one at nodes of a cluster, nowhere in a program's own session, which opens no port.",
    )
    include_dashboard: bool | None = _setting(
        None,
        Flag(optional=True),
        "Whether the head opens the dashboard's port; None: in a cluster, and when a program asks for the address.",
    )
    dashboard_host: str | None = _setting(
        None,
        Text(optional=True),
        "Address on which the dashboard listens; None: loopback. Beyond it the dashboard speaks TLS.",
    )
    dashboard_port: int | None = _setting(
        None,
        Number(0, 65535, whole=True, optional=True),
        "Port of the dashboard; 0: any free one; None: 8265, or the next that is free.",
    )
    debugger: str = _setting(
        "pdb", Text(), "Debugger at breakpoints in tasks and actors: a plugin's name, such as pdb or debugpy."
    )
    debugger_wait_seconds: float = _setting(
        600, Number(0, 7 * 86_400), "How long a call stands still for a person who does not come."
    )
    post_mortem: bool = _setting(
        False,
        Flag(),
        "Whether a call that raises stands still first, for `shoal debug` to look at its frames.",
    )
    timeline_events_max: int = _setting(100_000, Number(0, whole=True), "Events kept for the timeline.")

    origins: Mapping[str, str] = attrs.field(factory=dict, eq=False, repr=False, hash=False)

    def where_from(self, name: str) -> str:
        """Say where a value came from: "argument", "default", a variable's or a file's name. KeyError if unknown."""
        if name not in _KINDS:
            raise KeyError(name)
        if name in self.origins:
            return self.origins[name]
        return DEFAULT if getattr(self, name) == _DEFAULTS[name]() else ARGUMENT

    def to_wire(self) -> dict[str, Any]:
        """Return the values as plain data, for another process of the session."""
        return {name: getattr(self, name) for name in _KINDS}

    @classmethod
    def from_wire(cls, values: Mapping[str, Any]) -> Config:
        """Make it again from `to_wire`, where lists may have taken the place of tuples. Raises ConfigError."""
        try:
            return cls(**values)
        except TypeError as error:  # a name from another version
            raise ConfigError(f"settings from another version of shoal: {error}") from error


# What each node of a cluster has of its own; all other settings are the head's.
LOCAL_SETTINGS = frozenset(
    {
        "accelerators",
        "allow_plaintext",
        "credentials_file",
        "head_port",
        "head_wait_seconds",
        "labels",
        "listen_host",
        "log_level",
        "memory_bytes",
        "metrics_port",
        "node_port",
        "num_cpus",
        "num_gpus",
        "object_store_bytes",
        "resources",
        "spill_dir",
        "temp_dir",
        "tls",
        "tls_ca",
        "tls_cert",
        "tls_key",
    }
)


@attrs.frozen
class Setting:
    """One line of the table of settings, for people."""

    name: str
    environment: str
    default: Any
    allowed: str
    doc: str


def environment_name(name: str) -> str:
    """Return the variable that sets `name`: SHOAL_NUM_CPUS for num_cpus."""
    return "SHOAL_" + name.upper()


def settings() -> list[Setting]:
    """Return every setting in the order of the table."""
    return [
        Setting(field.name, environment_name(field.name), _DEFAULTS[field.name](), kind.allowed, _doc(field))
        for field in attrs.fields(Config)
        if (kind := _KINDS.get(field.name)) is not None
    ]


def kinds() -> Mapping[str, Kind]:
    """Return the kind of every setting by name."""
    return _KINDS


def _doc(field: attrs.Attribute[Any]) -> str:
    return str(field.metadata["doc"])


def _default_of(field: attrs.Attribute[Any]) -> Callable[[], Any]:
    default = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        make: Callable[[], Any] = default.factory  # type: ignore[union-attr]
        return make
    return lambda: default


_KINDS: dict[str, Kind] = {
    field.name: field.metadata["kind"] for field in attrs.fields(Config) if "kind" in field.metadata
}
_DEFAULTS = {field.name: _default_of(field) for field in attrs.fields(Config)}
