"""ArrowStore: shared memory whose objects are Arrow buffers, so that tables are written once and read in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from shoal.errors import ConfigError
from shoal.interfaces.store import StoreSettings
from shoal.stores.shm import ShmStore

if TYPE_CHECKING:
    import pyarrow as pa


class ArrowStore(ShmStore):
    """The files and rules of `shm`, and Arrow's view of them. Needs the extra `data`.

    An object may be any bytes. What `write` stored is an Arrow IPC stream; `read` gives its batches back without a
    copy, valid for as long as anything made from them lives.

    Example: `store.write(oid, table); store.read(oid).equals(table)`.
    """

    name: ClassVar[str] = "arrow"
    __slots__ = ()

    def __init__(self, settings: StoreSettings) -> None:
        try:
            import pyarrow  # noqa: F401  # fail here, not at the first table
        except ImportError as error:
            raise ConfigError(
                "the store 'arrow' needs pyarrow: install shoal[data], or choose the store 'shm'"
            ) from error
        super().__init__(settings)

    def create_buffer(self, object_id: bytes, size: int) -> pa.Buffer:
        """Do as `create`, as a mutable Arrow buffer. It must be gone before the object is sealed."""
        import pyarrow as pa

        return pa.py_buffer(self.create(object_id, size))

    def get_buffer(self, object_id: bytes) -> pa.Buffer | None:
        """Do as `get`, as an Arrow buffer over the same memory."""
        import pyarrow as pa

        view = self.get(object_id)
        return None if view is None else pa.py_buffer(view)

    def write(self, object_id: bytes, table: pa.Table) -> None:
        """Store a table as an Arrow IPC stream, written straight to its place. Raises as `create` does."""
        import pyarrow as pa

        measure = pa.MockOutputStream()
        with pa.ipc.new_stream(measure, table.schema) as writer:
            writer.write_table(table)
        buffer = self.create_buffer(object_id, measure.size())
        try:
            with (
                pa.FixedSizeBufferWriter(buffer) as sink,
                pa.ipc.new_stream(sink, table.schema) as writer,
            ):
                writer.write_table(table)
        except BaseException:
            del buffer
            self.abort(object_id)
            raise
        del buffer
        self.seal(object_id)

    def read(self, object_id: bytes) -> pa.Table | None:
        """Return a table over the object's memory, or None. Raises pyarrow.ArrowInvalid if it is no IPC stream."""
        import pyarrow as pa

        buffer = self.get_buffer(object_id)
        return None if buffer is None else pa.ipc.open_stream(buffer).read_all()
