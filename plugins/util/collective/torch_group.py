"""Groups over torch.distributed: Gloo for CPUs, NCCL for CUDA. Members meet through the session's key-value store."""

from __future__ import annotations

import datetime
import importlib
import time
from typing import Any

from shoal.errors import ConfigError, GetTimeout, describe
from shoal.interfaces.current import current
from shoal.util.collective.backends import CollectiveGroup, torch_has
from shoal.util.collective.types import ReduceOp
from shoal.util.nodes import get_node_ip_address

_NAMESPACE = "collective"
_POLL_SECONDS = 0.01


class TorchGroup(CollectiveGroup):
    """A process group of torch of its own, so that a program's default one is left alone."""

    def __init__(self, world_size: int, rank: int, group_name: str, timeout_ms: int, backend: str) -> None:
        super().__init__(world_size, rank, group_name, timeout_ms)
        if not torch_has(backend):
            raise ConfigError(
                f"the collective backend {backend} needs a torch that has it: pip install 'shoal[train]'"
            )
        self._torch: Any = importlib.import_module("torch.distributed")
        distributed = self._torch
        timeout = datetime.timedelta(milliseconds=timeout_ms)
        store = self._meet(timeout)
        prefixed = distributed.PrefixStore(group_name, store)
        if backend == "GLOO":
            self._group: Any = distributed.ProcessGroupGloo(prefixed, rank, world_size, timeout)
        else:
            options = distributed.ProcessGroupNCCL.Options()
            options._timeout = timeout
            self._group = distributed.ProcessGroupNCCL(prefixed, rank, world_size, options)

    def _meet(self, timeout: datetime.timedelta) -> Any:
        """Rank 0 opens a store on a free port and tells the others where it is."""
        engine = current.engine
        if engine is None:
            raise ConfigError("a collective group needs a session: its members are tasks and actors")
        key = self.group_name.encode()
        if self.rank == 0:
            # Other machines must reach it; on one machine the loopback address is the one that always works.
            host = "127.0.0.1" if len(engine.view().nodes) == 1 else get_node_ip_address()
            store = self._torch.TCPStore(host, 0, self.world_size, True, timeout, wait_for_workers=False)
            engine.kv_put(key, f"{host}:{store.port}".encode(), True, _NAMESPACE)
            self._key: bytes | None = key
            return store
        self._key = None
        end = time.monotonic() + timeout.total_seconds()
        while (found := engine.kv_get(key, _NAMESPACE)) is None:
            if time.monotonic() > end:
                raise GetTimeout(
                    f"rank 0 of collective group {self.group_name!r} did not come within {timeout.total_seconds():g} s"
                )
            time.sleep(_POLL_SECONDS)
        host, _, port = found.decode().rpartition(":")
        return self._torch.TCPStore(host, int(port), self.world_size, False, timeout, wait_for_workers=False)

    def _op(self, op: ReduceOp) -> Any:
        return getattr(self._torch.ReduceOp, ReduceOp(op).name)

    def allreduce(self, tensor: Any, op: ReduceOp) -> None:
        options = self._torch.AllreduceOptions()
        options.reduceOp = self._op(op)
        with _as_torch([tensor]) as tensors:
            self._group.allreduce(tensors, options).wait()

    def reduce(self, tensor: Any, dst_rank: int, op: ReduceOp) -> None:
        options = self._torch.ReduceOptions()
        options.reduceOp, options.rootRank = self._op(op), dst_rank
        with _as_torch([tensor]) as tensors:
            self._group.reduce(tensors, options).wait()

    def broadcast(self, tensor: Any, src_rank: int) -> None:
        options = self._torch.BroadcastOptions()
        options.rootRank, options.rootTensor = src_rank, 0
        with _as_torch([tensor]) as tensors:
            self._group.broadcast(tensors, options).wait()

    def allgather(self, tensor_list: list[Any], tensor: Any) -> None:
        self._check_list(tensor_list)
        with _as_torch(tensor_list) as outputs, _as_torch([tensor]) as inputs:
            self._group.allgather([outputs], inputs).wait()

    def reducescatter(self, tensor: Any, tensor_list: list[Any], op: ReduceOp) -> None:
        self._check_list(tensor_list)
        # Gloo scatters nothing: each member reduces all parts and keeps its own.
        with _as_torch([tensor]) as outputs, _as_torch(tensor_list) as inputs:
            options = self._torch.AllreduceOptions()
            options.reduceOp = self._op(op)
            for index, part in enumerate(inputs):
                whole = part.clone()
                self._group.allreduce([whole], options).wait()
                if index == self.rank:
                    outputs[0].copy_(whole)

    def send(self, tensor: Any, dst_rank: int) -> None:
        with _as_torch([tensor]) as tensors:
            self._group.send(tensors, dst_rank, 0).wait()

    def recv(self, tensor: Any, src_rank: int) -> None:
        with _as_torch([tensor]) as tensors:
            self._group.recv(tensors, src_rank, 0).wait()

    def barrier(self) -> None:
        self._group.barrier().wait()

    def destroy_group(self) -> None:
        engine = current.engine
        if self._key is not None and engine is not None and not engine.closed:
            engine.kv_delete(self._key, _NAMESPACE)
        del self._group

    def _check_list(self, tensor_list: Any) -> None:
        if not isinstance(tensor_list, list) or len(tensor_list) != self.world_size:
            raise ValueError(
                f"the list must hold a tensor for each of {self.world_size}, not {describe(tensor_list)}"
            )


class _as_torch:  # noqa: N801  used as a function
    """Tensors or arrays as torch's contiguous ones, for one operation; copies are written back at its end."""

    def __init__(self, values: list[Any]) -> None:
        import torch

        self._back: list[tuple[Any, Any]] = []
        self._tensors: list[Any] = []
        for value in values:
            if isinstance(value, torch.Tensor):
                tensor = value if value.is_contiguous() else value.contiguous()
            elif type(value).__module__ == "numpy" and hasattr(value, "flags"):
                if not value.flags.writeable:
                    raise ValueError(
                        "the array is read-only, as arrays from get() are: make a copy() of it first"
                    )
                tensor = torch.from_numpy(value)
                tensor = tensor if tensor.is_contiguous() else tensor.contiguous()
            else:
                raise TypeError(
                    f"collective operations take torch tensors and numpy arrays, not {describe(value)}"
                )
            self._tensors.append(tensor)
            self._back.append((value, tensor))

    def __enter__(self) -> list[Any]:
        return self._tensors

    def __exit__(self, *exc: object) -> None:
        for value, tensor in self._back:
            if hasattr(value, "copy_"):
                if value.data_ptr() != tensor.data_ptr():
                    value.copy_(tensor)
            elif not value.flags.c_contiguous:
                value[...] = tensor.numpy()
