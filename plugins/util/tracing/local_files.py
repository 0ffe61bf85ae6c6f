"""A place for spans when there is none yet: a file for each process, a span a line."""

from __future__ import annotations

import os
import tempfile

FOLDER_VARIABLE = "SPANS_DIR"


def spans_folder() -> str:
    """Return where the files are: what SPANS_DIR says, or `spans` in the folder for temporary files."""
    return os.environ.get(FOLDER_VARIABLE) or os.path.join(tempfile.gettempdir(), "spans")


def setup_tracing() -> None:
    """Let this process write its spans, as JSON, to a file named after it; for `enable_tracing`.

    Raises FileExistsError or OSError if the folder cannot be made.
    """
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

    folder = spans_folder()
    os.makedirs(folder, mode=0o700, exist_ok=True)
    # Not through a link that somebody else has put there.
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    file = open(os.open(os.path.join(folder, f"{os.getpid()}.txt"), flags, 0o600), "w")  # noqa: SIM115  for good
    provider = TracerProvider()
    exporter = ConsoleSpanExporter(out=file, formatter=lambda span: span.to_json(indent=None) + os.linesep)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
