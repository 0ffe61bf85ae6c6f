"""The states of durable actors, in the head's metadata store: the last saved one of each, and none of the dead.

A state is one or more pieces of at most a megabyte, which any store takes. Its *manifest* says which pieces are valid.
Pieces of a large state are written beside the last one's, in the other of two slots, and the manifest then turns to
them: whatever dies in between leaves a whole state. Who saves must be the actor's present process as the directory
knows it, so an earlier one on a node that was cut off changes nothing: check and write are one step of the head's loop.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from shoal.interfaces.metadata import Metadata, Write

if TYPE_CHECKING:
    from shoal.machines.actors import ActorDirectory, ActorRecord
    from shoal.native.head.head import Head

_log = logging.getLogger("shoal.head")

PIECE_BYTES = 1 << 20  # etcd takes requests of one and a half megabytes
_AT_ONCE = 100  # etcd takes 128 writes at once
_AGAIN_SECONDS = 1.0
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.decode


@attrs.define(eq=False, kw_only=True)
class _Manifest:
    version: int = 0  # 0: nothing was saved yet
    incarnation: int = 0
    slot: int = 0
    pieces: int = 0
    size: int = 0
    saved: float = 0.0  # seconds since the epoch
    used: list[int] = attrs.field(factory=lambda: [0, 0])  # pieces that may lie in each slot
    restored: float = 0.0  # when a process last began with it
    restored_from: float = 0.0  # when that state had been saved

    def has(self, incarnation: int, version: int) -> bool:
        """Tell whether this or a later state of that process was saved."""
        return self.incarnation == incarnation and self.version >= version


class DurableStates:
    """What is kept for each durable actor. Answers requests of their processes; see HeadRequests."""

    def __init__(self, head: Head, metadata: Metadata, scope: str) -> None:
        """`scope` keeps sessions apart whose heads do not go on from each other's records; "": it goes on."""
        self._head = head
        self._metadata = metadata
        self._manifests_table = "shoal:durable" + scope
        self._pieces_table = "shoal:durable:pieces" + scope
        self._manifests: dict[bytes, _Manifest] = {}
        self._to_forget: set[bytes] = set()

    @property
    def _directory(self) -> ActorDirectory:
        return self._head.actors.directory

    def restore(self) -> None:
        """Read what the last head kept; what belongs to no living actor goes."""
        for actor_id, value in self._metadata.items(self._manifests_table):
            self._manifests[actor_id] = _Manifest(**_unpack(value))
            record = self._directory.find(actor_id)
            if record is None or record.state == "DEAD":
                self.forget(actor_id)

    # Requests

    def piece(
        self,
        client: bytes,
        actor_id: bytes,
        incarnation: int,
        version: int,
        index: int,
        count: int,
        data: bytes,
    ) -> dict[str, Any]:
        """Keep one of several pieces of a state, which `commit` makes valid. Raises OSError."""
        fenced = self._fenced(client, actor_id, incarnation)
        if fenced:
            return fenced
        manifest = self._known(actor_id)
        if manifest.has(incarnation, version):
            return {}
        slot = 1 - manifest.slot
        if manifest.used[slot] < count:
            manifest.used[slot] = count
            self._apply(
                actor_id, [self._write(actor_id, manifest)]
            )  # what is begun must be known to be removed
        self._apply(actor_id, [Write(self._pieces_table, _key(actor_id, slot, index), data)])
        return {}

    def commit(
        self,
        client: bytes,
        actor_id: bytes,
        incarnation: int,
        version: int,
        count: int,
        size: int,
        data: bytes | None,
    ) -> dict[str, Any]:
        """Make a state the actor's: all its pieces were kept, or `data` is the only one. Raises OSError."""
        fenced = self._fenced(client, actor_id, incarnation)
        if fenced:
            return fenced
        old = self._known(actor_id)
        if old.has(incarnation, version):
            return {}  # asked again, since the answer was lost
        # A state of one piece can take the place of another in one step.
        slot = old.slot if count == 1 and old.pieces <= 1 else 1 - old.slot
        new = attrs.evolve(
            old,
            version=version,
            incarnation=incarnation,
            slot=slot,
            pieces=count,
            size=size,
            saved=time.time(),
            used=list(old.used),
        )
        new.used[slot] = max(new.used[slot], count)
        writes = [self._write(actor_id, new)]
        if data is not None:
            writes.append(Write(self._pieces_table, _key(actor_id, slot, 0), data))
        self._apply(actor_id, writes)
        self._manifests[actor_id] = new
        try:
            self._remove_pieces(actor_id, new, (0 if which != slot else count for which in (0, 1)))
        except OSError as error:
            _log.warning("pieces of an earlier state stay for now: %s", error)
        return {}

    def load(self, client: bytes, actor_id: bytes, incarnation: int, index: int) -> dict[str, Any]:
        """Return {version, pieces, size, saved, data} of one piece of the last saved state. Raises OSError."""
        fenced = self._fenced(client, actor_id, incarnation)
        if fenced:
            return fenced
        manifest = self._known(actor_id)
        if not manifest.version:
            return {}
        data = self._metadata.get(self._pieces_table, _key(actor_id, manifest.slot, index))
        if data is None:
            raise OSError(
                f"piece {index} of {manifest.pieces} of the state of actor {actor_id.hex()} is gone"
            )
        if index == manifest.pieces - 1:
            manifest.restored, manifest.restored_from = time.time(), manifest.saved
            record = self._directory.find(actor_id)
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(manifest.saved))
            _log.info(
                "actor %s (%s) goes on with its state of %s, version %d, %d bytes",
                *(actor_id.hex(), record.class_name if record is not None else "", when),
                *(manifest.version, manifest.size),
            )
        return {
            "version": manifest.version,
            "pieces": manifest.pieces,
            "size": manifest.size,
            "saved": manifest.saved,
            "data": data,
        }

    def table(self, client: bytes) -> list[dict[str, Any]]:
        """Return what is kept of each living durable actor, for people."""
        found = []
        for record in self._directory.all():
            if record.durable and record.state != "DEAD":
                found.append({**_named(record), **self._facts(record.actor_id)})
        return found

    def _facts(self, actor_id: bytes) -> dict[str, Any]:
        manifest = self._manifests.get(actor_id, _Manifest())
        return {
            "version": manifest.version,
            "size": manifest.size,
            "saved": manifest.saved,
            "restored": manifest.restored,
            "restored_from": manifest.restored_from,
        }

    def _fenced(self, client: bytes, actor_id: bytes, incarnation: int) -> dict[str, Any]:
        """Return {"fenced": why} unless the asking process is the actor's present one."""
        record = self._directory.find(actor_id)
        if record is None or record.state == "DEAD":
            return {"fenced": "the actor is dead"}
        if record.incarnation != incarnation or record.worker != client:
            return {
                "fenced": f"this is its process number {incarnation}, and number {record.incarnation} has taken over"
            }
        return {}

    # The end

    def forget(self, actor_id: bytes) -> None:
        """An actor is gone for good: nothing of it is kept."""
        try:
            self._remove(actor_id)
        except OSError as error:
            _log.warning("the state of dead actor %s stays for now: %s", actor_id.hex(), error)
            if not self._to_forget:
                self._head.call_later(_AGAIN_SECONDS, self._forget_again)
            self._to_forget.add(actor_id)

    def _forget_again(self) -> None:
        again, self._to_forget = self._to_forget, set()
        for actor_id in again:
            self.forget(actor_id)

    def clear(self) -> None:
        """Nobody goes on from here: nothing is kept, but for what the store does not let go of now."""
        try:
            for actor_id, _ in self._metadata.items(self._manifests_table):
                self._remove(actor_id)
        except OSError as error:
            _log.warning("states of durable actors stay in the metadata store: %s", error)

    def _remove(self, actor_id: bytes) -> None:
        self._remove_pieces(actor_id, self._known(actor_id), (0, 0))
        self._apply(actor_id, [Write(self._manifests_table, actor_id, None)])
        self._manifests.pop(actor_id, None)

    # Reading and writing

    def _known(self, actor_id: bytes) -> _Manifest:
        """Return an actor's manifest, an empty one if nothing was saved. Raises OSError."""
        manifest = self._manifests.get(actor_id)
        if manifest is None:
            value = self._metadata.get(self._manifests_table, actor_id)
            manifest = self._manifests[actor_id] = _Manifest(**({} if value is None else _unpack(value)))
        return manifest

    def _apply(self, actor_id: bytes, writes: list[Write]) -> None:
        """Write. After an error nobody can tell what was written: the manifest is read again. Raises OSError."""
        try:
            self._metadata.apply(writes)
        except OSError:
            self._manifests.pop(actor_id, None)
            raise

    def _write(self, actor_id: bytes, manifest: _Manifest) -> Write:
        return Write(self._manifests_table, actor_id, _pack(attrs.asdict(manifest)))

    def _remove_pieces(self, actor_id: bytes, manifest: _Manifest, keep: Any) -> None:
        """Remove the pieces beyond the first `keep` of each slot."""
        for slot, kept in enumerate(keep):
            keys = [_key(actor_id, slot, index) for index in range(kept, manifest.used[slot])]
            for start in range(0, len(keys), _AT_ONCE):
                some = keys[start : start + _AT_ONCE]
                self._metadata.apply([Write(self._pieces_table, key, None) for key in some])
            manifest.used[slot] = min(manifest.used[slot], kept)


def _key(actor_id: bytes, slot: int, index: int) -> bytes:
    return actor_id + bytes((slot,)) + index.to_bytes(4, "big")


def _named(record: ActorRecord) -> dict[str, Any]:
    return {
        "actor": record.actor_id,
        "name": record.name,
        "class_name": record.class_name,
        "state": record.state,
        "restarts": record.restarts,
    }
