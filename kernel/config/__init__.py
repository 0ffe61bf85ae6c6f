"""Every setting, in one table, read once at the start of a session and sent to every process of it."""

from shoal.config.sources import load_config
from shoal.config.table import Config, Setting, settings

__all__ = ["Config", "Setting", "load_config", "settings"]
