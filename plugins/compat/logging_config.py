"""How a program wants the log records of its processes to look."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

# Between processes of one session, not a setting.
VARIABLE = "SHOAL__COMPAT_LOGGING"
ENCODINGS = ("TEXT", "JSON")
_ALWAYS = ("asctime", "levelname", "message", "filename", "lineno", "process")


def _encoding(_: Any, field: Any, value: Any) -> None:
    if value not in ENCODINGS:
        raise ValueError(f"encoding must be one of {', '.join(ENCODINGS)}, not {value!r}")


@attrs.define
class LoggingConfig:
    """Records of Python's root logger, in the driver and all workers: as text, or as one line of JSON each.

    `log_level` is the least level, `additional_log_standard_attrs` names attributes of a LogRecord to add.
    """

    encoding: str = attrs.field(default="TEXT", validator=_encoding)
    log_level: str = "INFO"
    additional_log_standard_attrs: Sequence[str] = attrs.field(factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "encoding": self.encoding,
            "log_level": self.log_level,
            "additional_log_standard_attrs": list(self.additional_log_standard_attrs),
        }

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> LoggingConfig:
        """Make it again from `to_dict`."""
        return cls(**d)

    def apply(self) -> None:
        """Configure the root logger of this process, and of the workers of sessions that begin from now on."""
        root = logging.getLogger()
        for handler in list(root.handlers):
            if isinstance(handler, _Handler):
                root.removeHandler(handler)
        handler = _Handler()
        handler.setFormatter(_Formatter(self))
        root.addHandler(handler)
        root.setLevel(self.log_level)
        os.environ[VARIABLE] = json.dumps(self.to_dict())


class _Handler(logging.StreamHandler[Any]):
    """Ours, so that a second configuration replaces the first; writes to what stderr is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        import sys

        self.stream = sys.stderr
        super().emit(record)


class _Formatter(logging.Formatter):
    def __init__(self, config: LoggingConfig) -> None:
        super().__init__("%(asctime)s\t%(levelname)s %(filename)s:%(lineno)s -- %(message)s")
        self.config = config

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        more = {name: getattr(record, name, None) for name in self.config.additional_log_standard_attrs}
        where = _where()
        if self.config.encoding == "TEXT":
            return " ".join([text, *(f"{name}={value}" for name, value in {**more, **where}.items())])
        fields = {name: getattr(record, name, None) for name in _ALWAYS}
        if record.exc_info:
            fields["exc_text"] = self.formatException(record.exc_info)
        return json.dumps({**fields, **more, **where}, default=str)


def _where() -> dict[str, str]:
    """The identifiers of the running call; none outside of a session, which a log record must not start."""
    import shoal

    return shoal.get_runtime_context().get() if shoal.is_initialized() else {}


def configure_from_environment() -> None:
    """In a worker: do what the driver asked for."""
    text = os.environ.get(VARIABLE)
    if text:
        LoggingConfig.from_dict(json.loads(text)).apply()
