"""A session's folder: where its processes meet and what they share.

<folder>/            0700
    token            32 random bytes, 0600
    tls/             this node's certificate and its key, if the cluster made them
    credentials      on the head: what another machine needs in order to join, 0600
    settings         what every process must know, MessagePack, 0600
    s/               sockets, one per process
    p/               a page of memory per worker: the call it has started last
    logs/            what workers and the daemon print
    env/             environments that were built
    spill/           objects on disk
/dev/shm/shoal-…     object bytes, 0700
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import msgspec

from shoal.errors import ConfigError, SystemFailure
from shoal.native.security.certificates import Credentials
from shoal.native.security.private import read_token, write_private
from shoal.native.transport.links import Links
from shoal.spec.version import VERSION, python_version

_MADE_BY = "made by"


def _as_tuple(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


@attrs.frozen(kw_only=True)
class Session:
    """What a process knows of its session."""

    name: str
    folder: str
    token: bytes = attrs.field(repr=False)
    node_id: bytes
    number: int = 1  # of this node in its cluster: the identifiers of its processes begin with it
    is_head: bool = True
    head_address: str = ""  # host:port of the head's gRPC service, for a node that joins
    listen_host: str = (
        ""  # where other nodes may reach this one; "": nowhere, the session is this machine's alone
    )
    listen_port: int = 0
    # Files of the authority, of our certificate and of its key; empty: no TLS
    tls: Sequence[str] = attrs.field(default=(), converter=_as_tuple)
    tls_host: str = ""  # the name that every node's certificate has; "": each has that of its address
    standing: bool = False  # goes on when whoever started it ends: a node of a cluster
    job_id: bytes
    store_folder: str
    namespace: str
    driver: bytes  # worker identifier of the driver
    driver_pid: int
    path: Sequence[str] = ()  # the driver's sys.path
    main_folder: str = ""  # where the driver runs
    config: dict[str, Any] = attrs.field(factory=dict, repr=False)
    targets: dict[str, str] = attrs.field(
        factory=dict
    )  # plugin classes as "module:name", looked up by the driver
    observed: bool = False  # whether observers are installed, which every process then loads
    store_bytes: int = 0
    spill_folder: str = ""
    environment: dict[str, Any] = attrs.field(factory=dict)  # the session's runtime_env, checked

    def write(self) -> None:
        """Write `token` and `settings` into the folder."""
        write_private(os.path.join(self.folder, "token"), self.token)
        self.write_settings()

    def credentials(self) -> Credentials | None:
        """Return this node's certificate, None without TLS."""
        return Credentials(*self.tls) if self.tls else None

    def links(self) -> Links:
        """Return what makes connections to other nodes."""
        return Links(self.credentials(), self.tls_host)

    def carried(self, environment: dict[str, Any]) -> dict[str, Any]:
        """Return a checked runtime_env in a form that every node can use: in a cluster this one keeps its files."""
        if not self.listen_host or not environment:
            return environment
        from shoal.native.process.packages import publish

        return publish(environment, self.folder, self.number)

    def write_settings(self) -> None:
        """Write `settings`, also over earlier ones: a reader finds the one or the other, whole."""
        fields = attrs.asdict(self)
        del fields["token"]
        fields["path"] = list(self.path)
        fields[_MADE_BY] = [VERSION, python_version()]
        target = os.path.join(self.folder, "settings")
        write_private(target + ".new", msgspec.msgpack.encode(fields))
        os.rename(target + ".new", target)

    @classmethod
    def read(cls, folder: str) -> Session:
        """Read a session from its folder.

        Raises SystemFailure if it is not one, or not ours, and ConfigError if its processes run another version.
        """
        try:
            token = read_token(os.path.join(folder, "token"))
            with open(os.path.join(folder, "settings"), "rb") as file:
                fields = msgspec.msgpack.decode(file.read())
        except (ConfigError, OSError) as error:
            raise SystemFailure(f"{folder} is not the folder of a session of yours: {error}") from error
        theirs, ours = fields.pop(_MADE_BY, ["?", "?"]), [VERSION, python_version()]
        if theirs != ours:
            raise ConfigError(
                f"the node in {folder} runs Shoal {theirs[0]} on Python {theirs[1]}, this program Shoal {ours[0]} on "
                f"Python {ours[1]}: all processes of a cluster need the same; run the program in the environment that "
                "the node was started in"
            )
        return cls(token=token, **fields)
