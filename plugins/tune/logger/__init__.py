"""Loggers: callbacks that write each trial's reports down."""

from shoal.tune.logger.files import CSVLoggerCallback, JsonLoggerCallback
from shoal.tune.logger.logger import LoggerCallback, pretty_print
from shoal.tune.logger.trackers import TBXLoggerCallback, TrackerCallback

__all__ = [
    "CSVLoggerCallback",
    "JsonLoggerCallback",
    "LoggerCallback",
    "TBXLoggerCallback",
    "TrackerCallback",
    "pretty_print",
]
