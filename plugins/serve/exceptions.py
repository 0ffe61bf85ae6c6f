"""What goes wrong with services. Each says what to do; `shoal.errors` has the rest."""

from __future__ import annotations

from typing import Any

from shoal.errors import ShoalError


class ServeError(ShoalError):
    """The base of what this library raises."""


class DeployFailedError(ServeError, RuntimeError):
    """An application did not come up. The text has the reason; what ran before under its name goes on."""


class BackPressureError(ServeError):
    """A deployment has as many requests waiting as it may: try again later, or raise `max_queued_requests`.

    Over HTTP it is `status_code` (503) with the header Retry-After.
    """

    def __init__(
        self,
        num_queued_requests: int,
        max_queued_requests: int,
        status_code: int = 503,
        retry_after_s: float | None = 1.0,
    ) -> None:
        super().__init__(num_queued_requests, max_queued_requests, status_code, retry_after_s)
        self.num_queued_requests = num_queued_requests
        self.max_queued_requests = max_queued_requests
        self._status_code = status_code
        self._retry_after_s = retry_after_s

    @property
    def message(self) -> str:
        """What happened, in words."""
        return (
            f"{self.num_queued_requests} requests wait already, and max_queued_requests is "
            f"{self.max_queued_requests}: try again later"
        )

    @property
    def status_code(self) -> int:
        """The status that an HTTP client gets."""
        return self._status_code

    @property
    def retry_after_s(self) -> float | None:
        """Seconds after which to try again; None says nothing about it."""
        return self._retry_after_s

    def __str__(self) -> str:
        return self.message


class RequestCancelledError(ServeError):
    """A request was cancelled: by `cancel()`, by a client that went away, or by a timeout."""

    def __init__(self, request_id: str | None = None) -> None:
        super().__init__(request_id)
        self.request_id = request_id

    def __str__(self) -> str:
        return f"request {self.request_id} was cancelled" if self.request_id else "the request was cancelled"


class DeploymentUnavailableError(ServeError):
    """A deployment does not exist, or cannot run: its last deployment failed."""

    def __init__(self, deployment_id: Any, why: str = "") -> None:
        super().__init__(deployment_id, why)
        self.deployment_id = deployment_id
        self.why = why

    @property
    def message(self) -> str:
        """What happened, in words."""
        return f"deployment {self.deployment_id} is unavailable" + (f": {self.why}" if self.why else "")

    def __str__(self) -> str:
        return self.message


class ReplicaUnavailableError(ServeError):
    """A replica went away with a request that had begun. It was not tried again: it may have had effects."""

    def __init__(self, replica_id: Any, why: str = "") -> None:
        super().__init__(replica_id, why)
        self.replica_id = replica_id
        self.why = why

    @property
    def message(self) -> str:
        """What happened, in words."""
        return f"replica {self.replica_id} is unavailable" + (f": {self.why}" if self.why else "")

    def __str__(self) -> str:
        return self.message


class gRPCStatusError(ServeError):  # noqa: N801  (the reference's name)
    """A gRPC call ends with this status: what a method raises, or what was raised after it had set a code.

    `code` is a `grpc.StatusCode`, `details` the text for the client (the original exception's if None),
    `trailing_metadata` what is sent after it.

    Example: `raise gRPCStatusError(error, grpc.StatusCode.NOT_FOUND, "no such picture")`
    """

    def __init__(
        self,
        original_exception: BaseException,
        code: Any = None,
        details: str | None = None,
        trailing_metadata: tuple[tuple[str, str | bytes], ...] = (),
    ) -> None:
        super().__init__(original_exception, code, details, trailing_metadata)
        self._original, self._code, self._details = original_exception, code, details
        self.trailing_metadata = trailing_metadata

    @property
    def original_exception(self) -> BaseException:
        """What was raised."""
        return self._original

    @property
    def grpc_code(self) -> Any:
        """The status, a `grpc.StatusCode`; None leaves it to the proxy."""
        return self._code

    @property
    def grpc_details(self) -> str | None:
        """The text for the client."""
        return self._details

    def __str__(self) -> str:
        return self._details if self._details is not None else str(self._original)
