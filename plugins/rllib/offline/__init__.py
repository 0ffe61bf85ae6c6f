"""Learning from episodes that were recorded."""

from __future__ import annotations

from shoal.rllib.offline.config import OfflineSettings, offline_families
from shoal.rllib.offline.learner import Offline
from shoal.rllib.offline.reading import read_transitions
from shoal.rllib.offline.recording import record_episodes

__all__ = ["Offline", "OfflineSettings", "offline_families", "read_transitions", "record_episodes"]
