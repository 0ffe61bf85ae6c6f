"""How the records of Shoal's own loggers are written to files."""

from __future__ import annotations

import json
import logging


class _AsJson(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        facts = {
            "time": record.created,
            "level": record.levelname,
            "logger": record.name,
            "pid": record.process,
            "line": record.getMessage(),
        }
        if record.exc_info:
            facts["traceback"] = self.formatException(record.exc_info)
        return json.dumps(facts)


def log_formatter(text: str, log_format: str) -> logging.Formatter:
    """Return the formatter of a log file: `text` is that of logging, `log_format` the setting of that name.

    Example: `handler.setFormatter(log_formatter("%(levelname)s %(message)s", "json"))`
    """
    return _AsJson() if log_format == "json" else logging.Formatter(text)
