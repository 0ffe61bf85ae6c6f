"""Errors of the state API."""

from __future__ import annotations


class StateApiError(RuntimeError):
    """The state could not be had; the message says why."""


class ServerUnavailable(StateApiError):
    """There is no session to ask."""


class DataSourceUnavailable(StateApiError):
    """A part of the system did not answer."""


RayStateApiException = StateApiError  # the reference's name

__all__ = ["DataSourceUnavailable", "RayStateApiException", "ServerUnavailable", "StateApiError"]
