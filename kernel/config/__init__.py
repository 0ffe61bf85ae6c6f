"""Every setting, in one table, read once at the start of a session and sent to every process of it."""

from shoal.config.sources import load_config, read_toml
from shoal.config.table import LOCAL_SETTINGS, Config, Setting, settings

__all__ = ["LOCAL_SETTINGS", "Config", "Setting", "load_config", "read_toml", "settings"]
