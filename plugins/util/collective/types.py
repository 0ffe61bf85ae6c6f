"""Kinds and options of collective operations."""

from __future__ import annotations

import enum
import importlib.util

import attrs

DEFAULT_TIMEOUT_MS = 30_000
DEFAULT_GROUP = "default"


class Backend(str):
    """What carries the data: GLOO (CPU), NCCL (CUDA), or a backend of your own by name, in capitals."""

    GLOO = "GLOO"
    NCCL = "NCCL"
    UNRECOGNIZED = "UNRECOGNIZED"

    def __new__(cls, name: str) -> Backend:
        """Return the name in its one form; UNRECOGNIZED for what nothing carries."""
        from shoal.util.collective.backends import known_backends

        upper = str(name).upper()
        upper = {"TORCH_GLOO": cls.GLOO, "CPU": cls.GLOO, "CUDA": cls.NCCL}.get(upper, upper)
        return super().__new__(cls, upper if upper in known_backends() else cls.UNRECOGNIZED)


class ReduceOp(enum.Enum):
    """How values of several processes become one."""

    SUM = 0
    PRODUCT = 1
    MIN = 2
    MAX = 3


@attrs.define
class AllReduceOptions:
    """Options of allreduce."""

    reduceOp: ReduceOp = ReduceOp.SUM  # noqa: N815  the reference's names
    timeout_ms: int = DEFAULT_TIMEOUT_MS


@attrs.define
class BarrierOptions:
    """Options of barrier."""

    timeout_ms: int = DEFAULT_TIMEOUT_MS


@attrs.define
class ReduceOptions:
    """Options of reduce."""

    reduceOp: ReduceOp = ReduceOp.SUM  # noqa: N815
    root_rank: int = 0
    root_tensor: int = 0
    timeout_ms: int = DEFAULT_TIMEOUT_MS


@attrs.define
class AllGatherOptions:
    """Options of allgather."""

    timeout_ms: int = DEFAULT_TIMEOUT_MS


@attrs.define
class BroadcastOptions:
    """Options of broadcast."""

    root_rank: int = 0
    root_tensor: int = 0
    timeout_ms: int = DEFAULT_TIMEOUT_MS


@attrs.define
class ReduceScatterOptions:
    """Options of reducescatter."""

    reduceOp: ReduceOp = ReduceOp.SUM  # noqa: N815
    timeout_ms: int = DEFAULT_TIMEOUT_MS


@attrs.define
class SendOptions:
    """Options of send."""

    dst_rank: int = 0
    dst_gpu_index: int = 0
    n_elements: int = 0
    timeout_ms: int = DEFAULT_TIMEOUT_MS


@attrs.define
class RecvOptions:
    """Options of recv."""

    src_rank: int = 0
    src_gpu_index: int = 0
    n_elements: int = 0
    timeout_ms: int = DEFAULT_TIMEOUT_MS


def torch_available() -> bool:
    """Tell whether torch is installed."""
    return importlib.util.find_spec("torch") is not None


def cupy_available() -> bool:
    """Tell whether cupy is installed."""
    return importlib.util.find_spec("cupy") is not None
