"""How the processes of services write their logs: encoding, level, folder, lines for requests."""

from __future__ import annotations

import enum
import json
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from shoal.errors import ConfigError, describe
from shoal.serve import checks

# Programs that were written for the reference system log under its name.
LOGGERS = ("shoal.serve", "ray.serve")
ACCESS = logging.getLogger("shoal.serve.access")


class EncodingType(str, enum.Enum):
    """How a record is written: as a line of text, or as a line that is a JSON object."""

    TEXT = "TEXT"
    JSON = "JSON"


def _encoding(value: Any) -> EncodingType:
    try:
        return EncodingType(value)
    except ValueError:
        raise ConfigError(f"encoding must be 'TEXT' or 'JSON', not {describe(value)}") from None


def _level(value: Any) -> str:
    name = logging.getLevelName(value) if type(value) is int else str(value).upper()
    if name not in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
        raise ConfigError(f"log_level must be DEBUG, INFO, WARNING, ERROR or CRITICAL, not {describe(value)}")
    return name


_ATTRIBUTES = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"asctime", "message"}


def _attributes(value: Any) -> tuple[str, ...]:
    names = tuple(value or ())
    for each in names:
        if each not in _ATTRIBUTES:
            raise ConfigError(
                f"additional_log_standard_attrs has {each!r}, which no LogRecord has: {', '.join(sorted(_ATTRIBUTES))}"
            )
    return names


@attrs.frozen(kw_only=True)
class LoggingConfig:
    """How the logger `shoal.serve` of a process writes.

    `encoding` is text or JSON. `log_level` is the least level. With `logs_dir` records go to a file of each
    process in that folder, otherwise to standard error. `enable_access_log`: one line for each request.
    `additional_log_standard_attrs` are attributes of `logging.LogRecord` that each record has besides. Raises
    ConfigError.

    Example: `@serve.deployment(logging_config=LoggingConfig(encoding="JSON", logs_dir="/var/log/models"))`
    """

    encoding: EncodingType = attrs.field(default=EncodingType.TEXT, converter=_encoding)
    log_level: str = attrs.field(default="INFO", converter=_level)
    logs_dir: str | None = attrs.field(default=None, validator=checks.text(optional=True))
    enable_access_log: bool = attrs.field(default=True, validator=checks.flag)
    additional_log_standard_attrs: Sequence[str] = attrs.field(default=(), converter=_attributes)


def logging_config(value: Any) -> LoggingConfig | None:
    """Return a configuration of what was given: one, a mapping of its fields, or None. Raises ConfigError."""
    if value is None or isinstance(value, LoggingConfig):
        return value
    given = checks.mapping(value, "logging_config")
    known = {field.name for field in attrs.fields(LoggingConfig)}
    if unknown := sorted(given.keys() - known):
        raise ConfigError(f"logging_config has no {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    return LoggingConfig(**given)


class _Formatter(logging.Formatter):
    """Writes a record with what is known of the request that it belongs to."""

    def __init__(self, config: LoggingConfig, facts: Mapping[str, str]) -> None:
        super().__init__("%(levelname)s %(asctime)s %(name)s")
        self._config = config
        self._facts = facts

    def format(self, record: logging.LogRecord) -> str:
        from shoal.serve.context import request_context

        here = request_context.get()
        head = super().format(record) if self._config.encoding is EncodingType.TEXT else ""
        trouble = self.formatException(record.exc_info) if record.exc_info else ""
        more = {name: getattr(record, name, None) for name in self._config.additional_log_standard_attrs}
        request = {"request_id": here.request_id, "route": here.route} if here.request_id else {}
        if self._config.encoding is EncodingType.TEXT:
            first = head.split("\n", 1)[0]
            tags = " ".join(str(value) for value in (*self._facts.values(), *request.values()))
            text = f"{first} {tags} -- {record.getMessage()}"
            text += "".join(f" {name}={value}" for name, value in more.items())
            return f"{text}\n{trouble}" if trouble else text
        line: dict[str, Any] = {
            "levelname": record.levelname,
            "asctime": self.formatTime(record),
            "name": record.name,
            "message": record.getMessage(),
            **self._facts,
            **request,
            **more,
        }
        if trouble:
            line["exc_text"] = trouble
        return json.dumps(line, default=str, ensure_ascii=False)


def set_up(config: LoggingConfig, kind: str, name: str, facts: Mapping[str, str]) -> None:
    """Have this process's loggers write as a configuration says; what was set up before is taken away.

    `kind` and `name` make the file's name. Raises OSError if the folder cannot be made.
    """
    handler: logging.Handler
    if config.logs_dir is None:
        handler = logging.StreamHandler()
    else:
        os.makedirs(config.logs_dir, exist_ok=True)
        plain = "".join(each if each.isalnum() or each in "-_." else "_" for each in name)
        handler = logging.FileHandler(os.path.join(config.logs_dir, f"{kind}_{plain}.log"), encoding="utf-8")
    handler.setFormatter(_Formatter(config, dict(facts)))
    for each in LOGGERS:
        logger = logging.getLogger(each)
        for old in [one for one in logger.handlers if isinstance(one.formatter, _Formatter)]:
            logger.removeHandler(old)
            old.close()
        logger.addHandler(handler)
        logger.setLevel(config.log_level)
        logger.propagate = False
    ACCESS.disabled = not config.enable_access_log
