"""What goes wrong while tuning. Each class says what the caller can do."""

from __future__ import annotations

from shoal.errors import ShoalError

__all__ = ["TrialStopped", "TuneError"]


class TuneError(ShoalError, RuntimeError):
    """The experiment cannot go on, or a trial failed and nothing allows another try. The message tells the story."""


class TrialStopped(BaseException):
    """Raised by `report()` in a trial that is over: let it pass, so that the trial ends.

    It is no Exception, so that `except Exception` around a report does not swallow it. `decision` is STOP or PAUSE.
    """

    def __init__(self, text: str = "", decision: str = "STOP") -> None:
        super().__init__(text)
        self.decision = decision
