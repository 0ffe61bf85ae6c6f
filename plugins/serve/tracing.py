"""Spans of requests: one in the proxy and one in each replica that a request reaches, as OpenTelemetry has them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import attrs

from shoal.errors import ConfigError, describe
from shoal.serve import checks


@attrs.frozen(kw_only=True)
class TracingConfig:
    """Whether requests are traced, where spans go, and which part of requests.

    `exporter_import_path`, MODULE:FUNCTION, names a function without arguments that returns span processors (one,
    or a list); without it spans are lines of JSON in the folder of `shoal.util.tracing`. `sampling_ratio` is the
    part of requests that are traced unless their `traceparent` decides. Raises ConfigError.

    Example: `serve.start(tracing_config=TracingConfig(enabled=True, exporter_import_path="site.spans:make"))`
    """

    enabled: bool = attrs.field(default=False, validator=checks.flag)
    exporter_import_path: str | None = attrs.field(default=None, validator=checks.text(optional=True))
    sampling_ratio: float = attrs.field(default=1.0, validator=checks.number(most=1.0))

    def __attrs_post_init__(self) -> None:
        path = self.exporter_import_path
        if path is not None and (":" not in path and "." not in path):
            raise ConfigError(f"exporter_import_path is MODULE:FUNCTION, not {describe(path)}")


def tracing_config(value: Any) -> TracingConfig | None:
    """Return a configuration of what was given: one, a mapping of its fields, or None. Raises ConfigError."""
    if value is None or isinstance(value, TracingConfig):
        return value
    given = checks.mapping(value, "tracing_config")
    known = {field.name for field in attrs.fields(TracingConfig)}
    if unknown := sorted(given.keys() - known):
        raise ConfigError(f"tracing_config has no {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    return TracingConfig(**given)


class Tracer:
    """Makes the spans of one process."""

    def __init__(self, config: TracingConfig) -> None:
        try:
            from opentelemetry import trace
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
        except ImportError as error:
            raise ConfigError(
                f"tracing needs the extra `tracing` (pip install 'shoal[tracing]'): {error}"
            ) from error
        if config.exporter_import_path is None:
            from shoal.util.tracing.local_files import setup_tracing

            setup_tracing()
            provider: Any = trace.get_tracer_provider()
            provider.sampler = ParentBased(TraceIdRatioBased(config.sampling_ratio))
        else:
            made = _load(config.exporter_import_path)()
            provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(config.sampling_ratio)))
            for each in made if isinstance(made, (list, tuple)) else [made]:
                provider.add_span_processor(each)
            trace.set_tracer_provider(provider)
        self._tracer = provider.get_tracer("shoal.serve")

    @contextlib.contextmanager
    def span(self, name: str, parent: str, facts: Mapping[str, str]) -> Iterator[str]:
        """Open a span under a `traceparent` ("" begins a trace) and give the `traceparent` of what it makes."""
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        write = TraceContextTextMapPropagator()
        above = write.extract({"traceparent": parent}) if parent else None
        with self._tracer.start_as_current_span(name, above, attributes=dict(facts)):
            carrier: dict[str, str] = {}
            write.inject(carrier)
            yield carrier.get("traceparent", parent)


def _load(path: str) -> Any:
    module, _, name = path.rpartition(":" if ":" in path else ".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"exporter_import_path {path!r} cannot be imported: {error}") from error


_here: list[Tracer] = []  # of this process: at most one


def set_up(config: TracingConfig | None) -> None:
    """Have this process make spans if a configuration says so; once. Raises ConfigError."""
    if config is not None and config.enabled and not _here:
        _here.append(Tracer(config))


def tracer() -> Tracer | None:
    """Return what makes this process's spans, None if nothing does."""
    return _here[0] if _here else None
